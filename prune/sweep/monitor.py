"""Waiting for a sweep's runs: the runs' own files say how they are, the scheduler only whether their jobs still live."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from prune.rundir.directory import RunDirectory
from prune.rundir.reader import read_status
from prune.rundir.watching import Looks
from prune.sweep.backend import Backend
from prune.sweep.rows import Row, counts, row_of, table_of
from prune.sweep.slurm_queue import JobState
from prune.sweep.submission import read_result, write_verdict

REFRESH_SECONDS = 2.0
"""How often the files are read."""

SETTLE_SECONDS = 5.0
"""How long after a job's end its files may still be on their way through a network file system."""

UNANSWERED_SECONDS = 900.0
"""How long a run without a sign of life is waited for while the scheduler does not answer."""


class Monitor:
    """Watches runs until each is done or has failed.

    Args:
        epoch_ended: called at each look once some run has finished an epoch.

    Attributes:
        failures: what happened to each run that failed, by its directory.
    """

    def __init__(self, directories: Sequence[RunDirectory], backend: Backend, epoch_ended: Callable[[], None] | None = None):
        self.directories, self.backend, self.epoch_ended = list(directories), backend, epoch_ended
        self.failures: dict[Path, str] = {}
        self._done: set[Path] = set()
        self._jobs: dict[Path, JobState] = {}
        self._polled = float("-inf")
        self._answered = time.monotonic()
        self._silent = False
        self._over_since: dict[Path, float] = {}
        self._said: dict[Path, tuple[str, int | None]] = {}
        self._looks = Looks()

    def watch(self) -> None:
        """Show the table (on a terminal: live; else a line per change) and return when all runs have ended."""
        console = Console(stderr=True)
        if not console.is_terminal:
            while not self.step():
                self._say_changes()
                time.sleep(REFRESH_SECONDS)
            self._say_changes()
            return
        with Live(console=console, auto_refresh=False) as live:
            while True:
                ended = self.step()
                rows = self.rows()
                live.update(table_of(rows, counts(rows)), refresh=True)
                if ended:
                    return
                time.sleep(REFRESH_SECONDS)

    def step(self) -> bool:
        """Look once; true when every run has ended."""
        open_runs = [directory for directory in self.directories if not self._ended(directory)]
        if time.monotonic() - self._polled >= self.backend.poll_seconds:
            self._poll(open_runs)
        for directory in open_runs:
            self._judge(directory)
        if self.epoch_ended is not None and any(_has_epochs(directory) for directory in self.directories):
            self.epoch_ended()
        return all(self._ended(directory) for directory in self.directories)

    def rows(self) -> list[Row]:
        """A row per run as it stands."""
        return [self._row(directory) for directory in self.directories]

    def _ended(self, directory: RunDirectory) -> bool:
        return directory.path in self._done or directory.path in self.failures

    def _poll(self, directories: Sequence[RunDirectory]) -> None:
        self._polled = time.monotonic()
        answer = self.backend.poll(directories)
        self._silent = answer is None
        if answer is None:
            return
        self._answered, self._jobs = self._polled, answer
        for directory in directories:
            job = answer.get(directory.path)
            if job is None or not job.over:
                self._over_since.pop(directory.path, None)
            else:
                self._over_since.setdefault(directory.path, self._polled)

    def _judge(self, directory: RunDirectory) -> None:
        """Note a run as done or failed, if it is."""
        status = read_status(directory)
        word, path = status.get("status"), directory.path
        if word == "done":
            self._done.add(path)
        elif word == "failed":
            self.failures[path] = status.get("error") or "failed"
        elif path in self._over_since:
            if time.monotonic() - self._over_since[path] >= SETTLE_SECONDS:
                saved = "; it has saved, and the same command goes on from there" if word == "preempted" else ""
                self._fail(directory, read_result(directory) or f"{self.backend.verdict(directory)}{saved}")
        elif not self._silent and path not in self._jobs and word in ("preempted", "lost"):
            # It is no job of the scheduler's, so nobody will start it again.
            self._fail(directory, "was stopped" if word == "preempted" else "was killed, or its machine is gone")
        elif word != "running" and time.monotonic() - self._answered >= UNANSWERED_SECONDS:
            self._fail(directory, "gives no sign of life, and the scheduler has not answered for 15 minutes")

    def _fail(self, directory: RunDirectory, what: str) -> None:
        self.failures[directory.path] = what
        write_verdict(directory, what)

    def _row(self, directory: RunDirectory) -> Row:
        job = self._jobs.get(directory.path)
        waiting = None
        if job is not None and job.state == "PENDING":
            waiting = f"queued ({job.reason})" if job.reason else "queued"
        return row_of(self._looks.look(directory.path), waiting)

    def _say_changes(self) -> None:
        for row, directory in zip(self.rows(), self.directories, strict=True):
            news = row.status, row.state
            if self._said.get(directory.path) != news:
                self._said[directory.path] = news
                accuracy = "" if row.test_accuracy is None else f", test accuracy {row.test_accuracy:.2f}"
                place = f" (job {row.job}{f' on {row.node}' if row.node else ''})" if row.job else ""
                reached = f", state {row.state} of {row.states}" if row.states is not None else f" ({row.error})"
                print(f"{row.run}: {row.status}{reached}{accuracy}{place}", file=sys.stderr)


def _has_epochs(directory: RunDirectory) -> bool:
    try:
        return directory.metrics.stat().st_size > 0
    except OSError:
        return False
