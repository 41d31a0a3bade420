"""What a sweep would do: which cells are new, resumable, done or running already, and what is left to compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from prune.base.files import read_json, read_jsonl
from prune.config.schema import RunConfig
from prune.pruning.schedule import position
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.rundir.lock import holder
from prune.sweep.slurm_queue import queue_states
from prune.sweep.submission import Submission, read_submission
from prune.sweep.summary import wide_enough
from prune.sweep.work import epochs_in_all, flops_left

Standing = Literal["new", "resumable", "done", "running", "queued"]


@dataclass(frozen=True)
class PlannedCell:
    """One cell before anything is started.

    Attributes:
        position: (state, epoch) that it goes on from.
        place: where it runs already, in words; empty otherwise.
    """

    config: RunConfig
    directory: RunDirectory
    standing: Standing
    position: tuple[int, int]
    epochs_left: int
    flops_left: float | None
    place: str = ""

    @property
    def to_start(self) -> bool:
        return self.standing in ("new", "resumable")

    @property
    def hours(self) -> float | None:
        """At `hardware.throughput_tflops`."""
        speed = self.config.hardware.throughput_tflops
        return None if speed is None or self.flops_left is None else self.flops_left / (speed * 1e12) / 3600


def make_plan(configs: Iterable[RunConfig]) -> list[PlannedCell]:
    """Look at each cell's directory. Cells that are the same configuration appear once.

    Raises:
        UserError: if another version of this program wrote a cell's directory.
    """
    cells = {run_directory(config).path: config for config in configs}
    queued = _queued([run_directory(config) for config in cells.values()])
    return [_plan(config, queued) for config in cells.values()]


def _plan(config: RunConfig, queued: dict[str, str]) -> PlannedCell:
    directory = run_directory(config)
    directory.check_format()
    status: dict[str, Any] = read_json(directory.status) or {}
    total = epochs_in_all(config)
    if status.get("status") == "done":
        return PlannedCell(config, directory, "done", (config.schedule.states, 0), 0, 0.0)
    epochs_done = min(len(read_jsonl(directory.metrics)), total)
    standing: Standing = "resumable" if epochs_done or directory.last.exists() else "new"
    place, locked = "", holder(directory.lock)
    if locked is not None:
        standing = "running"
        place = f"job {locked['job_id']} on {locked['host']}" if locked.get("job_id") else f"on {locked['host']}"
    elif directory.path.name in queued:
        standing, place = "queued", f"job {queued[directory.path.name]}"
    return PlannedCell(
        config,
        directory,
        standing,
        position(vars(config.schedule), epochs_done),
        total - epochs_done,
        flops_left(config, epochs_done),
        place,
    )


def _queued(directories: Sequence[RunDirectory]) -> dict[str, str]:
    """Runs (by name) that an earlier submission still has in SLURM's queue → their job."""
    submitted: dict[str, Submission] = {}
    for directory in directories:
        submission = read_submission(directory)
        status = (read_json(directory.status) or {}).get("status")
        if submission is not None and submission.executor == "slurm" and status in ("queued", "preempted", "running"):
            submitted[directory.path.name] = submission
    states = queue_states([submission.job_id for submission in submitted.values()]) if submitted else None
    if states is None:
        return {}
    return {
        name: submission.job_id
        for name, submission in submitted.items()
        if submission.job_id in states and not states[submission.job_id].over
    }


def print_plan(plan: Sequence[PlannedCell], console: Console | None = None) -> None:
    """One row per cell, then the totals."""
    console = console or wide_enough(Console())
    table = Table(title="Plan", title_justify="left", box=SIMPLE)
    table.add_column("run", overflow="fold")
    table.add_column("standing")
    for heading in ("from state, epoch", "epochs to go", "training FLOPs to go", "hours"):
        table.add_column(heading, justify="right")
    for cell in plan:
        table.add_row(
            cell.directory.path.name,
            f"{cell.standing} {cell.place}".strip(),
            "–" if cell.standing == "done" else f"{cell.position[0]}, {cell.position[1]}",
            str(cell.epochs_left),
            _flops(cell.flops_left),
            _hours(cell.hours),
        )
    console.print(table)
    left = [cell for cell in plan if cell.to_start]
    counts = ", ".join(
        f"{sum(cell.standing == standing for cell in plan)} {standing}"
        for standing in ("new", "resumable", "running", "queued", "done")
        if any(cell.standing == standing for cell in plan)
    )
    console.print(
        f"{len(plan)} run{'s' * (len(plan) != 1)}: {counts}. To compute: {sum(cell.epochs_left for cell in left)} epochs, "
        f"{_flops(_total(cell.flops_left for cell in left))} FLOPs, {_hours(_total(cell.hours for cell in left))} hours.",
        highlight=False,
        soft_wrap=True,
    )
    if any(cell.hours is None for cell in left):
        console.print("Hours need hardware.throughput_tflops, the training speed in 10^12 FLOP/s.", highlight=False)
    for folder in sorted({str(cell.directory.path.parent) for cell in plan}):
        console.print(f"Output: {folder}", highlight=False, soft_wrap=True)


def _total(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if any(value is None for value in known) else sum(value for value in known if value is not None)


def _flops(value: float | None) -> str:
    return "?" if value is None else "0" if value == 0 else f"{value:.2e}"


def _hours(value: float | None) -> str:
    return "?" if value is None else f"{value:.2g}"
