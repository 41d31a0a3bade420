"""Checkpoints: last.pt (all that is needed to go on exactly), the rewind point, and the compact models of each state."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as dump_safetensors
from torch import Tensor

from prune.base.files import jsonl, sha256, sha256_of, sync_directory, write_atomically, write_json
from prune.rundir.digests import Digests
from prune.rundir.directory import RunDirectory
from prune.rundir.format import FORMAT, check_format
from prune.rundir.manifest import manifest_digest

log = logging.getLogger(__name__)

_MAGIC = b"prune-v1"
_TRAILER = len(_MAGIC) + hashlib.sha256().digest_size


@dataclass
class Progress:
    """What last.pt holds: where the run stands, and everything needed to go on from there.

    Attributes:
        state, epoch, step: the next step to take. (s, 0, 0) is "state s has not begun": `model` is then state s-1's final.
        metrics, states: all lines of the two jsonl files.
        alive: the units in `model`: group → original indices.
        model: the present tensors by name.
        run_memory: what the method remembers of the run, packed, between states.
        live: in the middle of a state, all else that it needs (see `PruningState.dump`); None between states.
        run: the run's name, that of its directory.
        threads: CPU threads of the run's first start; 0 before it.
        facts: the small files that say what was found at first start (data.json, weights.json): name → content.
        files: path within the run → sha256 of all that it has written for good (see `Digests`).
    """

    run: str
    state: int = 0
    epoch: int = 0
    step: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    alive: dict[str, list[int]] = field(default_factory=dict)
    model: dict[str, Tensor] = field(default_factory=dict)
    run_memory: Any = None
    live: dict[str, Any] | None = None
    threads: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether it comes from a file: the run has been here before."""
        return self.threads > 0


class _Hashing:
    """A file to write to that digests what passes, and remembers an error that torch's writer would rephrase."""

    def __init__(self, file: IO[bytes]):
        self.file, self.digest = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            written = self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        return written

    def flush(self) -> None:
        self.file.flush()


def save_last(directory: RunDirectory, progress: Progress) -> None:
    """Make `progress` the new last.pt; the one before stays as last.previous.pt. Atomic, checksummed, durable."""

    def write(file: IO[bytes]) -> None:
        hashing = _Hashing(file)
        try:
            with _no_crc32():
                torch.save({"format": FORMAT, **vars(progress)}, cast("IO[bytes]", hashing))
        except RuntimeError:
            if hashing.error is not None:
                raise hashing.error from None
            raise
        file.write(_MAGIC + hashing.digest.digest())

    directory.checkpoints.mkdir(exist_ok=True)
    fresh = directory.checkpoints / "last.new.pt"
    write_atomically(fresh, write)
    if directory.last.exists():
        os.replace(directory.last, directory.previous)
    os.replace(fresh, directory.last)
    sync_directory(directory.checkpoints)


@contextmanager
def _no_crc32() -> Iterator[None]:
    """Have torch compute no CRC-32: the SHA-256 covers the whole file already."""
    usual = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        yield
    finally:
        torch.serialization.set_crc32_options(usual)


def load_last(directory: RunDirectory) -> Progress | None:
    """The newest whole checkpoint of this run: last.pt, or if it is missing or damaged the one before; None without either.

    Raises:
        UserError: if another version of this program wrote it.
    """
    for path in (directory.last, directory.previous):
        if not path.exists():
            continue
        content = _read_checked(path)
        if isinstance(content, str):
            log.warning("%s %s; looking for an earlier one", path, content)
        elif content["run"] != directory.path.name:
            log.warning("%s belongs to another run, %s; looking for an earlier one", path, content["run"])
        else:
            return Progress(**content)
    return None


def foreign(directory: RunDirectory) -> Path | None:
    """A checkpoint in this run's folder that belongs to another run; None if there is none."""
    for path in (directory.last, directory.previous):
        content = _read_checked(path) if path.exists() else ""
        if not isinstance(content, str) and content["run"] != directory.path.name:
            return path
    return None


def _read_checked(path: Path) -> dict[str, Any] | str:
    """The content of a checkpoint of our own making, or what is wrong with it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    body, trailer = data[:-_TRAILER], data[-_TRAILER:]
    if len(data) <= _TRAILER or trailer != _MAGIC + hashlib.sha256(body).digest():
        return "is damaged (its checksum does not match)"
    content: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    check_format(path, content.pop("format", None))
    if content.keys() != {entry.name for entry in fields(Progress)}:
        return "was written by a version of this program between releases"
    return content


def dump_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file without metadata, so that equal tensors make equal bytes."""
    return dump_safetensors({name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()})


def parse_tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU."""
    return load_safetensors(data)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU."""
    return parse_tensors(path.read_bytes())


def save_state(
    digests: Digests,
    index: int,
    final: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    about: dict[str, Any],
    run_memory: Any = None,
) -> None:
    """Write a state's compact models and what the method remembers of the run (packed plain values and tensors).

    `about` becomes pruned.json, which also gets the checksums.
    """
    directory = digests.directory
    folder = directory.state(index)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: dump_tensors(tensors) for name, tensors in (("final", final), ("best", best))}
    paths = {name: folder / f"{name}.safetensors" for name in contents}
    if run_memory is not None:
        packed = io.BytesIO()
        torch.save(run_memory, packed)
        contents["run_memory"], paths["run_memory"] = packed.getvalue(), directory.run_memory(index)
    checksums = {name: sha256_of(data) for name, data in contents.items()}
    for name, data in contents.items():
        write_atomically(paths[name], partial(_write, data))
        digests.note(paths[name], checksums[name])
    manifest = {**about, "sha256": checksums}
    checksums["manifest"] = manifest_digest(manifest)
    write_json(directory.manifest(index), manifest)
    digests.note(directory.manifest(index), sha256(directory.manifest(index)))


def _write(data: bytes, file: IO[bytes]) -> None:
    file.write(data)


def resume_facts(progress: Progress) -> dict[str, Any]:
    """What pruned.json holds for a run that has lost its last.pt: its first start, its other files and its lines so far."""
    lines = {name: sha256_of(jsonl(getattr(progress, name))) for name in ("metrics", "states")}
    return {"threads": progress.threads, "facts": progress.facts, "files": dict(progress.files), "lines": lines}


def read_run_memory(directory: RunDirectory, index: int) -> Any:
    """What `save_state` was given, still packed; None if the method remembered nothing."""
    if not directory.run_memory(index).exists():
        return None
    return torch.load(directory.run_memory(index), map_location="cpu", weights_only=True)


def outdated(directory: RunDirectory, newest: int, keep: str, spared: Path | None = None) -> list[Path]:
    """The files that `checkpoint.keep` gives up after state `newest`, of what the run wrote.

    `last` keeps that state's models only, `best` all bests and the newest final. The manifests stay: which units each state
    kept is part of the result. So does the file that is `spared`.
    """
    gone = {"all": (), "best": ("final.safetensors",), "last": ("best.safetensors", "final.safetensors", "run_memory.pt")}[keep]
    files = (directory.state(index) / name for index in range(newest) for name in gone)
    return [path for path in files if path != spared]


def remove(paths: Iterable[Path]) -> None:
    """Remove files that are there. A folder of that name is somebody else's and stays."""
    for path in paths:
        with suppress(IsADirectoryError, NotADirectoryError, PermissionError):
            path.unlink(missing_ok=True)
