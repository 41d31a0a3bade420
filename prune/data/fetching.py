"""One download at a time, however many processes want the same files; and none at all in jobs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prune.base.errors import UserError


@contextmanager
def download_lock(root: Path) -> Iterator[None]:
    """Hold an exclusive lock on `root` (made if missing); a second process waits for the first.

    Raises:
        UserError: in a submitted job, which must find everything in place.
    """
    if os.environ.get("PRUNE_OFFLINE"):
        raise UserError(f"{root} lacks files, and a submitted job does not download; fetch them with `prune data fetch`.")
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".download.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
