"""What a sweep needs of the place that its runs are sent to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from prune.rundir.directory import RunDirectory
from prune.sweep.plan import PlannedCell
from prune.sweep.slurm_queue import JobState


class Backend(Protocol):
    """SLURM, or processes on this machine. It is asked every `poll_seconds`."""

    poll_seconds: float

    def check(self, runs: int) -> None:
        """Raise `UserError` if so many runs cannot be started as asked for."""

    def submit(self, cells: Sequence[PlannedCell]) -> None:
        """Start the runs or queue them, and write their submission.json. State 0 is trained once for those that share it.

        Raises:
            UserError: if nothing was submitted.
        """

    def poll(self, directories: Sequence[RunDirectory]) -> dict[Path, JobState] | None:
        """The job of each run (`GONE` if it is no longer known, missing if there is no job); None without an answer."""

    def verdict(self, directory: RunDirectory) -> str:
        """How a job ended that left no result: the end of a sentence whose subject is the run."""

    def not_started(self) -> list[RunDirectory]:
        """Runs that nothing will start once this process has ended."""

    def how_to_look(self, sweep: Path) -> str:
        """How to follow and to stop runs that go on after this process."""
