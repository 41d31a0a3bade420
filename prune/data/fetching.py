"""One download at a time, however many processes want the same files."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def download_lock(root: Path) -> Iterator[None]:
    """Hold an exclusive lock on `root` (made if missing); a second process waits for the first."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".download.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
