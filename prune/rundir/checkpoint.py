"""Checkpoints: last.pt (all that is needed to go on exactly), the rewind point, and the compact models of each state."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as dump_safetensors
from torch import Tensor

from prune.base.files import sha256, sync_directory, write_atomically, write_json
from prune.rundir.directory import RunDirectory
from prune.rundir.format import FORMAT, check_format

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
    """

    state: int = 0
    epoch: int = 0
    step: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    alive: dict[str, list[int]] = field(default_factory=dict)
    model: dict[str, Tensor] = field(default_factory=dict)
    run_memory: Any = None
    live: dict[str, Any] | None = None


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
    """Have torch compute no CRC-32: the SHA-256 covers the whole file, and the CRC takes a quarter of the time to save it."""
    usual = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        yield
    finally:
        torch.serialization.set_crc32_options(usual)


def load_last(directory: RunDirectory) -> Progress | None:
    """The newest whole checkpoint: last.pt, or if it is missing or damaged the one before; None without either."""
    for path in (directory.last, directory.previous):
        if not path.exists():
            continue
        content = _read_checked(path)
        if content is not None:
            check_format(path, content.pop("format", None))
            return Progress(**content)
        log.warning("%s is damaged (its checksum does not match); looking for the one before", path)
    return None


def _read_checked(path: Path) -> dict[str, Any] | None:
    data = path.read_bytes()
    body, trailer = data[:-_TRAILER], data[-_TRAILER:]
    if len(data) <= _TRAILER or trailer != _MAGIC + hashlib.sha256(body).digest():
        return None
    return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file without metadata, so that equal tensors make equal bytes."""
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda file: file.write(dump_safetensors(plain)))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU."""
    return load_safetensors(path.read_bytes())


def save_state(
    directory: RunDirectory,
    index: int,
    final: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    about: dict[str, Any],
    run_memory: Any = None,
) -> None:
    """Write a state's compact models and what the method remembers of the run (packed plain values and tensors).

    `about` becomes pruned.json, which also gets the checksums.
    """
    folder = directory.state(index)
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in (("final", final), ("best", best)):
        write_tensors(folder / f"{name}.safetensors", tensors)
    digests = {name: sha256(folder / f"{name}.safetensors") for name in ("final", "best")}
    if run_memory is not None:
        write_atomically(directory.run_memory(index), lambda file: torch.save(run_memory, file))
        digests["run_memory"] = sha256(directory.run_memory(index))
    write_json(directory.manifest(index), {**about, "sha256": digests})


def read_run_memory(directory: RunDirectory, index: int) -> Any:
    """What `save_state` was given, still packed; None if the method remembered nothing."""
    if not directory.run_memory(index).exists():
        return None
    return torch.load(directory.run_memory(index), map_location="cpu", weights_only=True)


def trim_states(directory: RunDirectory, newest: int, keep: str) -> None:
    """Bound the disk after state `newest`: `last` keeps that state's models only, `best` all bests and the newest final.

    The manifests stay: which units each state kept is part of the result.
    """
    gone = {"all": (), "best": ("final",), "last": ("best", "final")}[keep]
    for index in range(newest):
        for name in gone:
            (directory.state(index) / f"{name}.safetensors").unlink(missing_ok=True)
        if keep == "last":
            directory.run_memory(index).unlink(missing_ok=True)
