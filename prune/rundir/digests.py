"""Which bytes a run's files must have: their digests, which last.pt holds, so that no file is believed that was not checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prune.base.files import sha256, write_json
from prune.rundir.directory import RunDirectory


class Digests:
    """The sha256 of each file that a run has written for good: rewind points, models, memories, manifests, predictions.

    Args:
        table: path within the run → sha256. What is noted here is noted in it.
    """

    def __init__(self, directory: RunDirectory, table: dict[str, str]):
        self.directory, self.table = directory, table

    def note(self, path: Path, sha256: str) -> None:
        """The file has just been written, with this digest."""
        self.table[self._name(path)] = sha256

    def forget(self, path: Path) -> None:
        """The file will be removed."""
        self.table.pop(self._name(path), None)

    def of(self, path: Path) -> str | None:
        """The digest that the file must have; None if it has not been written yet."""
        return self.table.get(self._name(path))

    def hold(self, path: Path) -> bool:
        """Whether the file is there as it was written."""
        return self.of(path) is not None and digest(path) == self.of(path)

    def broken(self) -> list[Path]:
        """The files that are missing or not as they were written, in order. Reads all of them."""
        return [path for path in map(self.directory.path.joinpath, sorted(self.table)) if not self.hold(path)]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.directory.path).as_posix()


def write_checksums(directory: RunDirectory, files: Mapping[str, str]) -> None:
    """The run is over: note the digests of its files, lines and facts among them, for who reads it without its last.pt."""
    others = (directory.metrics, directory.states, *directory.facts)
    small = {path.name: sha256(path) for path in others if path.exists()}
    write_json(directory.checksums, {"files": {**files, **small}})


def digest(path: Path) -> str | None:
    """The file's digest; None if it is missing or cannot be read."""
    try:
        return sha256(path)
    except OSError:
        return None
