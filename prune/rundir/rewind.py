"""Rewind points: a run's tensors at moments of state 0, written once and never changed. One file each, known by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from prune.base.errors import UserError
from prune.base.files import sha256_of, write_atomically
from prune.pruning.options import rewind_name
from prune.rundir.checkpoint import dump_tensors, parse_tensors
from prune.rundir.digests import Digests


class RewindPoints:
    """The rewind points of a run, named as `method.rewind` does: `init`, or `epoch:K` when epoch K of state 0 had finished."""

    def __init__(self, digests: Digests):
        self._digests = digests

    def path(self, name: str) -> Path:
        return self._digests.directory.rewind(rewind_name(name))

    def has(self, name: str) -> bool:
        """Whether the point is there, with the bytes that were written."""
        return self._digests.hold(self.path(name))

    def write(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Once: whoever comes by again (an epoch that is replayed, a lost file that is made again) must have the same bytes.

        Raises:
            UserError: if the tensors are not those that were written before.
        """
        path, data = self.path(name), dump_tensors(tensors)
        digest, before = sha256_of(data), self._digests.of(path)
        if before not in (None, digest):
            raise UserError(
                f"{path} is missing or damaged, and what was made again is not the same (another torch or pretrained model?); "
                "restore the file, or set another name to start afresh."
            )
        self._digests.note(path, digest)
        if not self.has(name):
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, lambda file: file.write(data))
            path.chmod(path.stat().st_mode & ~0o222)

    def read(self, name: str) -> dict[str, Tensor]:
        """Fresh tensors, on the CPU.

        Raises:
            UserError: if the file is not as it was written.
        """
        path = self.path(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}).") from None
        if sha256_of(data) != self._digests.of(path):
            raise UserError(f"{path} is damaged: its checksum is not the one in last.pt.")
        return parse_tensors(data)
