"""Sweeps to be damaged: finished, killed in the middle of a state, and running. Two runs each, of which one stays whole."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prune.base.files import read_json_object, write_json
from prune.config import RunConfig
from prune.engine.cell import run_cell
from prune.engine.state import PruningState
from prune.engine.watch import Watcher
from prune.rundir.dense import dense_directory
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.rundir.status import now
from prune.sweep.submission import JOBS
from tests.conftest import TINY_RUN, compose_config
from tests.faults.remembering import NAME, register

KINDS = ("finished", "killed", "running")


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder below `outputs`, and the configurations of its two runs: the first is the one that is damaged."""

    outputs: Path
    configs: tuple[RunConfig, RunConfig]

    @property
    def run(self) -> RunDirectory:
        return run_directory(self.configs[0])

    @property
    def other(self) -> RunDirectory:
        return run_directory(self.configs[1])

    @property
    def folder(self) -> Path:
        return self.run.path.parent

    def copy(self, to: Path) -> Sweep:
        """The same sweep elsewhere, with a fresh heartbeat where it runs."""
        shutil.copytree(self.outputs, to, symlinks=True)
        copy = Sweep(to, configs(to))
        for run in (copy.run, copy.other):
            status = read_json_object(run.status)
            if status.get("status") == "running":
                write_json(run.status, {**status, "heartbeat": now()})
        return copy

    @property
    def dense(self) -> tuple[Path, Path]:
        """Where the shared state 0 of each run is."""
        first, second = (dense_directory(config) for config in self.configs)
        assert first is not None and second is not None
        return first.path, second.path

    def dense_files(self) -> list[str]:
        """The files of the first run's, by their names."""
        return sorted(path.name for path in self.dense[0].iterdir())

    def files(self) -> list[str]:
        """The files of the run that is damaged, by their paths in it."""
        return sorted(str(path.relative_to(self.run.path)) for path in self.run.path.rglob("*") if path.is_file())


def added(outputs: Path, *overrides: str) -> RunConfig:
    """A run that has the first one's state 0, and prunes otherwise."""
    return configs(outputs, "method.scope=layer", *overrides)[0]


def configs(outputs: Path, *overrides: str) -> tuple[RunConfig, RunConfig]:
    """A run that leaves every kind of file, and one that differs from it by its seed."""
    register()
    first, second = (
        compose_config(outputs, *TINY_RUN, "method=refill", f"method.name={NAME}", f"seed={seed}", *overrides)
        for seed in (0, 1)
    )
    return first, second


def make(kind: str, outputs: Path, whole: Path | None = None) -> Sweep:
    """Make a sweep of this kind.

    Args:
        whole: a finished one, whose second run is taken over.
    """
    sweep = Sweep(outputs, configs(outputs))
    if kind == "finished":
        for config in sweep.configs:
            assert run_cell(config).status == "done"
    else:
        assert whole is not None
        other = run_directory(configs(whole)[1])
        shutil.copytree(other.path, sweep.other.path)
        if kind == "killed":
            in_a_child(lambda: _run_until(sweep.configs[0], signal.SIGKILL))
        else:
            _submitted(sweep.run)
    return sweep


def start(sweep: Sweep) -> int:
    """Run the first run up to where others are killed, and stop it there, alive; its process id, to be killed in the end."""
    child = os.fork()
    if child == 0:
        try:
            _run_until(sweep.configs[0], signal.SIGSTOP)
        finally:
            os._exit(1)
    os.waitpid(child, os.WUNTRACED)
    return child


def in_a_child(act: Callable[[], object], seconds: float = 120.0) -> int:
    """Do something in a child process; its exit code, negative for a signal. One that takes longer is killed (-9 too)."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def _run_until(config: RunConfig, number: signal.Signals) -> None:
    """Send oneself a signal as the second epoch of the last state begins: it has a checkpoint, and so has its beginning."""
    begins = Watcher.epoch_begins

    def epoch_begins(self: Watcher, state: PruningState, epoch: int) -> None:
        if (state.index, epoch) == (2, 1):
            os.kill(os.getpid(), number)
        begins(self, state, epoch)

    Watcher.epoch_begins = epoch_begins  # type: ignore[method-assign]
    run_cell(config)


def _submitted(run: RunDirectory) -> None:
    """The note of a job that will run it."""
    run.path.mkdir()
    jobs = run.path.parent / JOBS / "2026-01-01" / "jobs" / "4711"
    names = {"output": f"{jobs}_0_log.out", "errors": f"{jobs}_0_log.err", "result": f"{jobs}_0_result.json"}
    write_json(run.submission, {"executor": "local", "job_id": "4711", **names, "submitted": now(), "verdict": None})
