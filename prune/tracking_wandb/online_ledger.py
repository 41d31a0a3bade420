"""Who is sending a run to W&B, and what was sent."""

from __future__ import annotations

import fcntl
import io
import time
from pathlib import Path
from typing import Any

from prune.base.files import read_json, write_json


class OnlineLedger:
    """A lock that only one online session of a run holds, and `online.json`, a note of what the last one achieved.

    The note spares a replay with nothing to do the trip to the server. It is written only once W&B confirmed the upload
    and names the server and project, so it never claims too much; without it the server itself is asked.
    """

    def __init__(self, folder: Path):
        self.path = folder / "online.json"
        self._file: io.IOBase | None = None

    def lock(self, seconds: float) -> None:
        """Wait for the lock, which the kernel releases should this process die.

        Raises:
            TimeoutError: if another session still has it after `seconds`.
        """
        file = self.path.with_name("online.lock").open("a")
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    file.close()
                    raise TimeoutError("another process is sending this run to W&B") from None
                time.sleep(0.2)
            except OSError:
                # A file system without locks: status.json alone then tells whether the run's own job is sending.
                break
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> dict[str, Any]:
        return read_json(self.path) or {}

    def write(self, **note: Any) -> None:
        write_json(self.path, note)
