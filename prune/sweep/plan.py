"""What a sweep would do: which cells are new, resumable, done or running already, and what is left to compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory, RunRecord, read_run
from prune.rundir.identity import run_directory
from prune.rundir.lock import holder
from prune.sweep.slurm_queue import JobState
from prune.sweep.submission import read_submission, slurm_jobs
from prune.sweep.summary import wide_enough
from prune.sweep.work import flops_left

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
    runs = [_record(config, RunDirectory(path)) for path, config in cells.items()]
    started = [run.directory for run in runs if run.status.get("status") in ("queued", "preempted", "running", "lost")]
    jobs = slurm_jobs(started) or {}
    return [_plan(config, run, jobs.get(path)) for (path, config), run in zip(cells.items(), runs, strict=True)]


def _record(config: RunConfig, directory: RunDirectory) -> RunRecord:
    """The run as its files tell it; without files, as one that has done nothing."""
    if directory.config.exists():
        return read_run(directory.path)
    return RunRecord(directory, config.model_dump(mode="json"), metrics=[], states=[])


def _plan(config: RunConfig, run: RunRecord, job: JobState | None) -> PlannedCell:
    directory = run.directory
    if run.done:
        return PlannedCell(config, directory, "done", (run.planned_states, 0), 0, 0.0)
    standing: Standing = "resumable" if run.metrics or directory.last.exists() else "new"
    place, locked, submission = "", holder(directory.lock), read_submission(directory)
    if locked is not None:
        standing = "running"
        place = f"job {locked['job_id']} on {locked['host']}" if locked.get("job_id") else f"on {locked['host']}"
    elif submission is not None and job is not None and not job.over:
        standing, place = "queued", submission.name
    left = flops_left(config, len(run.metrics))
    return PlannedCell(config, directory, standing, run.position, run.epochs_left, left, place)


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
