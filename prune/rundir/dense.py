"""Shared dense states: a state 0 that several runs of a sweep have in common, trained once and kept in `<sweep>/.dense/<id>/`.

One is known by all that fixes its bits (`fixed_by`), and is believed only as far as its checksums hold. A run that has taken
its state 0 from it never needs it again: the folder may be deleted at any time. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import read_json, sha256_of
from prune.base.registries import METHODS
from prune.config.schema import RunConfig
from prune.pruning.options import rewind_name
from prune.rundir.digests import digest
from prune.rundir.format import check_format
from prune.rundir.identity import counted

FOLDER = ".dense"
"""The folder of a sweep that holds its shared dense states."""

OF_LATER_STATES = ("states", "epochs", "epochs_first", "epochs_last", "target", "targets", "shape", "rates", "measure")
"""Keys of `schedule` that cannot change state 0, but for its number of epochs, which counts by itself. Any other key counts."""

FINAL, BEST, PREDICTIONS = "final.safetensors", "best.safetensors", "predictions.npz"
"""Its files, besides the rewind points."""


@dataclass(frozen=True)
class DenseDirectory:
    """`<outputs>/<name>/.dense/<id>`. No path inside it is built anywhere else.

    Attributes:
        fixed_by: the digest of all that fixes the state's bits; the folder's name is its start.
    """

    path: Path
    fixed_by: str

    @property
    def manifest(self) -> Path:
        """What is there, with the digest of each file. Written last: without it there is nothing."""
        return self.path / "dense.json"

    @property
    def lock(self) -> Path:
        """Held by the run that trains it."""
        return self.path / "lock.json"

    @property
    def submission(self) -> Path:
        """Which job is to train it, where it has one (see `prune.sweep.submission`)."""
        return self.path / "submission.json"

    @property
    def pending(self) -> Path:
        """The rewind points that the run which trains it has kept for others so far, each in a file `aside`."""
        return self.path / "pending.json"

    def rewind(self, point: str) -> Path:
        """A rewind point, named as `method.rewind` does."""
        return self.path / f"rewind-{rewind_name(point)}.safetensors"

    def aside(self, name: str) -> Path:
        """Where a file of this name lies until all is published: what is there already stays whole."""
        return self.path / f"pending-{name}"


@dataclass(frozen=True)
class DenseState:
    """What the manifest says is there.

    Attributes:
        directory: where.
        run: the run that trained it.
        version, start: of which version of this program, and on what (see `about_this_start`).
        threads: the CPU threads of that run's first start.
        facts: what was found at that run's first start: name of the small file → content.
        metrics, line: its lines of metrics.jsonl, and that of states.jsonl.
        sha256: name of each file → digest.
    """

    directory: DenseDirectory
    run: str
    version: str
    start: dict[str, Any]
    threads: int
    facts: dict[str, Any]
    metrics: list[dict[str, Any]]
    line: dict[str, Any]
    sha256: dict[str, str]

    def lacks(self, points: Iterable[str]) -> list[str]:
        """The rewind points, of these, that were not kept."""
        return [point for point in points if self.directory.rewind(point).name not in self.sha256]

    def broken(self, points: Iterable[str]) -> Path | None:
        """A file that a run with these rewind points needs and that is not as it was written; None if all are. Reads them."""
        names = [FINAL, BEST, PREDICTIONS, *(self.directory.rewind(point).name for point in points)]
        paths = [self.directory.path / name for name in names]
        return next((path for path in paths if digest(path) != self.sha256.get(path.name)), None)

    def read(self, path: Path) -> bytes:
        """The content of one of its files.

        Raises:
            UserError: if it is not as it was written.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}).") from None
        if sha256_of(data) != self.sha256.get(path.name):
            raise UserError(f"{path} is damaged: its checksum is not the one in {self.directory.manifest.name}.")
        return data


def dense_directory(config: RunConfig) -> DenseDirectory | None:
    """Where the shared state 0 of a run is, or will be; None if its state 0 is its own.

    It is its own where `share_dense=false`, where state 0 has no epochs, and where the method acts in it.
    """
    if not config.share_dense or config.schedule.epochs_of(0) == 0:
        return None
    if not METHODS.load(config.method.name)(config, config.method).of(0).shares_state_0:
        return None
    fixed = sha256_of(json.dumps(fixed_by(config), sort_keys=True, separators=(",", ":")))
    return DenseDirectory(Path(config.outputs) / config.name / FOLDER / fixed[:8], fixed)


def fixed_by(config: RunConfig) -> dict[str, Any]:
    """All of a configuration that can change a bit of state 0: what a run's identity counts, less what later states read."""
    content = counted(config)
    del content["method"]
    schedule = {key: value for key, value in content["schedule"].items() if key not in OF_LATER_STATES}
    return {**content, "schedule": {**schedule, "epochs_of_state_0": config.schedule.epochs_of(0)}}


def read_dense(directory: DenseDirectory) -> DenseState | str | None:
    """What is there by its manifest; None if there is nothing, and a text that names the file if it cannot be believed."""
    path = directory.manifest
    if not path.is_symlink() and not path.exists():
        return None
    content = read_json(path)
    try:
        whole = isinstance(content, dict) and content.pop("checksum", None) == manifest_checksum(content)
        if not whole:
            return f"{path} is damaged: its checksum does not match"
        check_format(path, content.pop("format"))
        if content.pop("fixed_by") != directory.fixed_by:
            return f"{path} is of another state"
        return DenseState(directory, **content)
    except (TypeError, KeyError):
        return f"{path} was written by a version of this program between releases"
    except UserError as error:
        return str(error).rstrip(".")


def manifest_checksum(content: Mapping[str, Any]) -> str:
    """Of a manifest's content without it, as canonical JSON."""
    return sha256_of(json.dumps(content, sort_keys=True, separators=(",", ":")))
