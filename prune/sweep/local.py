"""Runs as processes on this machine, some at a time, started by submitit's local executor."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import read_json_object
from prune.base.machine import cpu_count, visible_gpus
from prune.config.hardware import HardwareConfig
from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory
from prune.sweep.cell_job import OFFLINE, CellJob
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
        self._queue: deque[tuple[RunConfig, RunDirectory]] = deque()
        self._slots: list[tuple[RunDirectory, Any] | None] = [None] * hardware.jobs
        self._ended: dict[Path, int] = {}

    def check(self, runs: int) -> None:
        if not self.hardware.wait and runs > self.hardware.jobs:
            raise UserError(
                f"hardware.wait=false starts all {runs} runs at once, more than hardware.jobs={self.hardware.jobs}; raise "
                "hardware.jobs or wait."
            )

    def submit(self, cells: Sequence[tuple[RunConfig, RunDirectory]]) -> None:
        self._queue.extend(cells)
        self._fill()

    def poll(self, directories: Sequence[RunDirectory]) -> dict[Path, JobState] | None:
        self._fill()
        waiting = {directory.path for _, directory in self._queue}
        running = {slot[0].path for slot in self._slots if slot is not None}
        states = {}
        for directory in directories:
            if directory.path in waiting:
                states[directory.path] = JobState("PENDING")
            elif directory.path in running:
                states[directory.path] = JobState("RUNNING")
            elif directory.path in self._ended:
                states[directory.path] = GONE
        return states

    def _fill(self) -> None:
        for number, slot in enumerate(self._slots):
            if slot is not None and slot[1].done():
                self._ended[slot[0].path] = slot[1]._process.returncode
                slot = self._slots[number] = None
            if slot is None and self._queue:
                config, directory = self._queue.popleft()
                self._slots[number] = directory, self._start(config, directory, number)

    def _start(self, config: RunConfig, directory: RunDirectory, slot: int) -> Any:
        environment = dict(OFFLINE)
        if self.gpus and config.hardware.device != "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        hardware = config.hardware
        if hardware.threads is None and not directory.has_begun:
            hardware = hardware.model_copy(update={"threads": self.threads})
        job = CellJob(config.model_copy(update={"hardware": hardware}), environment, own_session=True)
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
        return [directory for _, directory in self._queue]

    def how_to_look(self, sweep: Path) -> str:
        waiting = f" Not started yet: {len(self._queue)}; the same command starts them." if self._queue else ""
        return f"Look at them with `python -m prune status {sweep} --watch`; `kill PROCESS` makes one save and stop.{waiting}"
