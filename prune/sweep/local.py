"""Runs as processes on this machine, some at a time, started by submitit's local executor."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import read_json_object
from prune.base.machine import cpu_count, visible_gpus
from prune.config.hardware import HardwareConfig
from prune.rundir.directory import RunDirectory
from prune.rundir.reader import read_status
from prune.sweep.cell_job import OFFLINE, CellJob
from prune.sweep.plan import PlannedCell
from prune.sweep.slurm_queue import GONE, JobState
from prune.sweep.submission import write_submission

NO_LIMIT_MINUTES = 10 * 365 * 24 * 60
"""submitit ends local jobs after a time; ours have none."""


class LocalBackend:
    """`hardware.jobs` slots, each with its share of the cores and one GPU; a run that ends makes room for the next."""

    poll_seconds = 1.0

    def __init__(self, hardware: HardwareConfig, executor: Callable[..., Any], code: Path):
        self.hardware, self.executor, self.code = hardware, executor, code
        self.threads = hardware.threads or max(1, cpu_count() // hardware.jobs)
        self.gpus = [] if hardware.device == "cpu" else visible_gpus()
        self._queue: list[PlannedCell] = []
        self._slots: list[tuple[PlannedCell, Any] | None] = [None] * hardware.jobs
        self._ended: dict[Path, int] = {}

    def check(self, runs: int) -> None:
        if not self.hardware.wait and runs > self.hardware.jobs:
            raise UserError(
                f"hardware.wait=false starts all {runs} runs at once, more than hardware.jobs={self.hardware.jobs}; raise "
                "hardware.jobs or wait."
            )

    def submit(self, cells: Sequence[PlannedCell]) -> None:
        self._queue.extend(cells)
        self._fill()

    def poll(self, directories: Sequence[RunDirectory]) -> dict[Path, JobState] | None:
        self._fill()
        running = {slot[0].directory.path for slot in self._slots if slot is not None}
        states = {}
        queued = {cell.directory.path: cell for cell in self._queue}
        busy = self._in_training()
        for directory in directories:
            if directory.path in queued:
                waits = _dense(queued[directory.path]) in busy
                states[directory.path] = JobState("PENDING", reason="for state 0" if waits else "")
            elif directory.path in running:
                states[directory.path] = JobState("RUNNING")
            elif directory.path in self._ended:
                states[directory.path] = GONE
        return states

    def _fill(self) -> None:
        for number, slot in enumerate(self._slots):
            if slot is not None and slot[1].done():
                self._ended[slot[0].directory.path] = slot[1]._process.returncode
                slot = self._slots[number] = None
            cell = None if slot else self._next()
            if cell is not None:
                self._slots[number] = cell, self._start(cell, number)

    def _next(self) -> PlannedCell | None:
        """The first of the queue that would not wait for a state 0: its slot is better used by another."""
        busy = self._in_training() if self.hardware.wait else set()
        cell = next((cell for cell in self._queue if _dense(cell) not in busy), None)
        if cell is not None:
            self._queue.remove(cell)
        return cell

    def _in_training(self) -> set[Path | None]:
        """The shared dense states that the runs in the slots have yet to finish."""
        cells = [slot[0] for slot in self._slots if slot is not None and not read_status(slot[0].directory).get("state")]
        there = {_dense(cell) for cell in cells if cell.share.directory and cell.share.directory.manifest.exists()}
        return {_dense(cell) for cell in cells} - {None, *there}

    def _start(self, cell: PlannedCell, slot: int) -> Any:
        config, directory = cell.config, cell.directory
        environment = dict(OFFLINE)
        if self.gpus and config.hardware.device != "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        hardware = config.hardware
        if hardware.threads is None and not (directory.has_begun or cell.begins_with_shared):
            hardware = hardware.model_copy(update={"threads": self.threads})
        job = CellJob(config.model_copy(update={"hardware": hardware}), environment, own_session=True, points=cell.share.points)
        with self._from_the_copy():
            submitted = self.executor("local", timeout_min=NO_LIMIT_MINUTES, name=f"prune-{config.name}").submit(job)
        write_submission(directory, "local", submitted)
        return submitted

    @contextmanager
    def _from_the_copy(self) -> Iterator[None]:
        """What a started process inherits: the copy of the code first on its path; neither our Ctrl-C nor our output.

        (Whoever reads our output through a pipe would else wait for the end of processes that go on without us.)
        """
        directory, path = Path.cwd(), os.environ.get("PYTHONPATH")
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(self.code), path]))
        os.chdir(self.code)
        sys.stdout.flush()
        sys.stderr.flush()
        outputs = [(number, os.dup(number)) for number in (1, 2)]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            for number, _ in outputs:
                os.dup2(nowhere, number)
            yield
        finally:
            for number, ours in outputs:
                os.dup2(ours, number)
                os.close(ours)
            os.close(nowhere)
            os.chdir(directory)
            if path is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = path
            signal.signal(signal.SIGINT, interrupt)

    def verdict(self, directory: RunDirectory) -> str:
        if read_json_object(directory.status).get("status") == "preempted":
            return "was told to stop"
        code = self._ended.get(directory.path)
        return "was killed, or its process ended without a result" + (f" (exit code {code})" if code else "")

    def not_started(self) -> list[RunDirectory]:
        return [cell.directory for cell in self._queue]

    def how_to_look(self, sweep: Path) -> str:
        waiting = f" Not started yet: {len(self._queue)}; the same command starts them." if self._queue else ""
        return f"Look at them with `python -m prune status {sweep} --watch`; `kill PROCESS` makes one save and stop.{waiting}"


def _dense(cell: PlannedCell) -> Path | None:
    """The shared dense state that the cell trains or takes over; None where its state 0 is its own, or behind it."""
    directory = cell.share.directory
    return None if directory is None or (cell.position[0] > 0 and not cell.share.takes_over) else directory.path
