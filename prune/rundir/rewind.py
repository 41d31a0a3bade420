"""Rewind points: a run's tensors at moments of state 0, written once and never changed. One file each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from prune.pruning.options import rewind_epoch
from prune.rundir.checkpoint import read_tensors, write_tensors
from prune.rundir.directory import RunDirectory


class RewindPoints:
    """The rewind points of a run, named as `method.rewind` does: `init`, or `epoch:K` when epoch K of state 0 had finished."""

    def __init__(self, directory: RunDirectory):
        self._directory = directory

    def path(self, name: str) -> Path:
        epoch = rewind_epoch(name)
        return self._directory.rewind(name if epoch is None else f"epoch-{epoch:03d}")

    def has(self, name: str) -> bool:
        return self.path(name).exists()

    def write(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Once: a replayed epoch would write the same bytes, and nothing else may ever change them."""
        if not self.has(name):
            self.path(name).parent.mkdir(exist_ok=True)
            write_tensors(self.path(name), tensors)
            self.path(name).chmod(0o444)

    def read(self, name: str) -> dict[str, Tensor]:
        """Fresh tensors, on the CPU."""
        return read_tensors(self.path(name))
