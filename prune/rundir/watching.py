"""Looking at runs again and again while they go on: only what has changed is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prune.rundir.directory import RunDirectory
from prune.rundir.reader import RunRecord, Unreadable, look
from prune.rundir.status import effective_status

Stamp = tuple[int, int, int] | None
"""Inode, time of the last change and size of a file; None where there is none."""


class Looks:
    """Of hundreds of runs most are waiting or over. To read one takes milliseconds, to see that it is as it was far less."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[list[Stamp], RunRecord | Unreadable]] = {}

    def look(self, folder: Path) -> RunRecord | Unreadable:
        """As `prune.rundir.reader.look`, but a run none of whose files has changed is the one that was read last time."""
        stamps = _stamps(RunDirectory(folder))
        before, run = self._seen.get(folder, (None, None))
        if run is None or stamps != before:
            run = look(folder)
            self._seen[folder] = stamps, run
        # A process that is gone changes nothing: its heartbeat grows old.
        return run if isinstance(run, Unreadable) else replace(run, status=effective_status(run.status))


def _stamps(run: RunDirectory) -> list[Stamp]:
    return [_stamp(path) for path in (run.config, run.metrics, run.states, run.status, run.checksums)]


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns, found.st_size
