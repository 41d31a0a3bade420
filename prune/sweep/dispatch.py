"""A sweep sent away: fetch, copy the code, mark the runs as queued, submit, watch."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from prune.base.ending import INTERRUPTED
from prune.base.errors import UserError
from prune.base.files import read_json, write_json
from prune.config.schema import RunConfig
from prune.engine.stop import ending_like_ctrl_c
from prune.rundir.directory import RunDirectory
from prune.rundir.lock import RunLock, holder
from prune.rundir.status import StatusFile
from prune.sweep.backend import Backend
from prune.sweep.estimate import Estimate
from prune.sweep.fetch import fetch_first
from prune.sweep.local import LocalBackend
from prune.sweep.monitor import Monitor
from prune.sweep.plan import PlannedCell, trainers_first
from prune.sweep.slurm import SlurmBackend
from prune.sweep.snapshot import take_snapshot
from prune.sweep.submission import read_submission
from prune.sweep.summary import print_failures, print_summary


def launch_sweep(plan: Sequence[PlannedCell], executor: Callable[..., Any]) -> int:
    """Start what is not done and not running, and watch all of it; returns the exit code.

    Raises:
        UserError: if nothing could be submitted.
    """
    with ending_like_ctrl_c():
        return _start_and_watch(plan, executor)


def _start_and_watch(plan: Sequence[PlannedCell], executor: Callable[..., Any]) -> int:
    hardware = plan[0].config.hardware
    to_start = [cell for cell in plan if cell.to_start]
    going_on = [cell for cell in plan if cell.standing in ("running", "queued")]
    if not to_start and not going_on:
        return _end(plan, {})
    fetch_first(cell.config for cell in to_start)
    kind = SlurmBackend if hardware.launcher == "slurm" else LocalBackend
    backend: Backend = kind(hardware, executor, take_snapshot(to_start[0].directory.path.parent) if to_start else Path())
    backend.check(len(to_start))
    marks = _submit(to_start, backend)
    if not hardware.wait:
        for cell in to_start + going_on:
            submission = read_submission(cell.directory)
            print(f"{cell.directory.path.name}: {cell.place if submission is None else submission.name}")
        print(backend.how_to_look(plan[0].directory.path.parent))
        return 0
    monitor = Monitor([cell.directory for cell in to_start + going_on], backend, Estimate.after(plan))
    try:
        monitor.watch()
    except KeyboardInterrupt:
        waiting = {directory.path for directory in backend.not_started()}
        _unmark([mark for mark in marks if mark.directory.path in waiting])
        Console(stderr=True).print(f"\nThe runs go on. {backend.how_to_look(plan[0].directory.path.parent)}", highlight=False)
        return INTERRUPTED
    return _end(plan, monitor.failures)


def _end(plan: Sequence[PlannedCell], failures: dict[Path, str]) -> int:
    directories = [cell.directory for cell in plan]
    print_summary(directories)
    failed = [(directory, failures[directory.path]) for directory in directories if directory.path in failures]
    if failed:
        print_failures(failed)
        print(f"{len(failed)} of {len(plan)} runs failed; the same command starts them again.", file=sys.stderr)
    return 1 if failed else 0


@dataclass(frozen=True)
class Mark:
    """What was there before a run was marked as queued."""

    directory: RunDirectory
    existed: bool
    status: Any


def _submit(cells: Sequence[PlannedCell], backend: Backend) -> list[Mark]:
    """Mark the cells as queued, then submit them; if that fails, leave their directories as they were."""
    marks = [Mark(cell.directory, cell.directory.path.exists(), read_json(cell.directory.status)) for cell in cells]
    if not cells:
        return marks
    try:
        for cell in cells:
            _mark_queued(cell.config, cell.directory)
        backend.submit(trainers_first(cells))
    except BaseException:
        _unmark(marks)
        raise
    return marks


def _unmark(marks: Sequence[Mark]) -> None:
    """Nothing will start these runs: their directories become what they were."""
    for mark in marks:
        if read_submission(mark.directory) is not None or holder(mark.directory.lock) is not None:
            continue  # started before the rest was refused, or given to a job by another command meanwhile
        if not mark.existed:
            shutil.rmtree(mark.directory.path, ignore_errors=True)
        elif mark.status is None:
            mark.directory.status.unlink(missing_ok=True)
        else:
            write_json(mark.directory.status, mark.status)


def _mark_queued(config: RunConfig, directory: RunDirectory) -> None:
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"outputs: {directory.path} cannot be written ({error.strerror}).") from None
    with RunLock(directory.lock):
        directory.submission.unlink(missing_ok=True)
        directory.write_config(config.model_dump(mode="json"))
        StatusFile(directory.status).update(status="queued", error=None, traceback=None)
