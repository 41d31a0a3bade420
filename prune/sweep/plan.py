"""What a sweep would do: which cells are new, resumable, done or running already, and what is left to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from prune.base.text import literal, printable
from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.rundir.lock import holder
from prune.rundir.reader import RunRecord, read_run
from prune.sweep.hours import UNKNOWN, Speeds, hours
from prune.sweep.slurm_queue import JobState
from prune.sweep.submission import read_submission, slurm_jobs
from prune.sweep.summary import wide_enough
from prune.sweep.versions import about_versions, other_version
from prune.sweep.work import flops_left, is_exact

Standing = Literal["new", "resumable", "done", "running", "queued"]


@dataclass(frozen=True)
class PlannedCell:
    """One cell before anything is started.

    Attributes:
        position: (state, epoch) that it goes on from.
        exact: whether `flops_left` is that to the last digit, or about so much.
        hours: of computing; None if nothing tells how fast this machine trains it.
        speed: what `hours` is judged by, in words.
        place: where it runs already, in words; empty otherwise.
        version: that finished it, if it was another version of this program.
    """

    config: RunConfig
    directory: RunDirectory
    standing: Standing
    position: tuple[int, int]
    epochs_left: int
    flops_left: float | None
    exact: bool
    hours: float | None = None
    speed: str = ""
    place: str = ""
    version: str | None = None

    @property
    def to_start(self) -> bool:
        return self.standing in ("new", "resumable")


def make_plan(configs: Iterable[RunConfig]) -> list[PlannedCell]:
    """Look at each cell's directory. Cells that are the same configuration appear once.

    Raises:
        UserError: if another version of this program wrote a cell's directory.
    """
    cells = {run_directory(config).path: config for config in configs}
    runs = [_record(config, RunDirectory(path)) for path, config in cells.items()]
    started = [run.directory for run in runs if run.status.get("status") in ("queued", "preempted", "running", "lost")]
    jobs = slurm_jobs(started) or {}
    speeds = {config.outputs: Speeds(Path(config.outputs)) for config in cells.values()}
    return [
        _plan(config, run, jobs.get(path), speeds[config.outputs])
        for (path, config), run in zip(cells.items(), runs, strict=True)
    ]


def _record(config: RunConfig, directory: RunDirectory) -> RunRecord:
    """The run as its files tell it; without files, as one that has done nothing. (config.yaml is written at each start.)"""
    directory.check_format()
    return read_run(directory.path, config.model_dump(mode="json"))


def _plan(config: RunConfig, run: RunRecord, job: JobState | None, speeds: Speeds) -> PlannedCell:
    directory = run.directory
    if run.done:
        return PlannedCell(config, directory, "done", (run.planned_states, 0), 0, 0.0, True, 0.0, version=other_version(run))
    standing: Standing = "resumable" if run.metrics or directory.has_begun else "new"
    place, locked, submission = "", holder(directory.lock), read_submission(directory)
    if locked is not None:
        standing = "running"
        place = f"job {locked.job_id} on {locked.host}" if locked.job_id else f"on {locked.host}"
    elif submission is not None and job is not None and not job.over:
        standing, place = "queued", submission.name
    left = flops_left(config, len(run.metrics))
    time, by = _hours_left(config, len(run.metrics), left, speeds)
    return PlannedCell(config, directory, standing, run.position, run.epochs_left, left, is_exact(config), time, by, place)


def _hours_left(config: RunConfig, epochs_done: int, flops: float | None, speeds: Speeds) -> tuple[float | None, str]:
    """Hours and what they are judged by: an earlier run, else `hardware.throughput_tflops`, else nothing."""
    speed, stated = speeds.of(config), config.hardware.throughput_tflops
    if speed is not None:
        return hours(config, speed, epochs_done), f"at the speed of {speed.source}"
    if stated is not None and flops is not None:
        return flops / (stated * 1e12) / 3600, f"at hardware.throughput_tflops={stated:g}"
    return None, ""


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
            literal(cell.directory.path.name),
            literal(f"{cell.standing} by {cell.version}" if cell.version else f"{cell.standing} {cell.place}".strip()),
            "–" if cell.standing == "done" else f"{cell.position[0]}, {cell.position[1]}",
            str(cell.epochs_left),
            _flops(cell.flops_left, cell.exact),
            _hours(cell.hours),
        )
    console.print(table)
    for line in _below(plan):
        console.print(printable(line), highlight=False, soft_wrap=True, markup=False)


def _below(plan: Sequence[PlannedCell]) -> Iterator[str]:
    """The totals, what the hours are judged by, which finished runs are another version's, and where the output goes."""
    left = [cell for cell in plan if cell.to_start]
    counts = ", ".join(
        f"{sum(cell.standing == standing for cell in plan)} {standing}"
        for standing in ("new", "resumable", "running", "queued", "done")
        if any(cell.standing == standing for cell in plan)
    )
    work = [f"{sum(cell.epochs_left for cell in left)} epochs"]
    exact = all(cell.exact for cell in left)
    work += _total([cell.flops_left for cell in left], "FLOPs", lambda value: _flops(value, exact))
    work += _total([cell.hours for cell in left], "hours", _hours)
    yield f"{len(plan)} run{'s' * (len(plan) != 1)}: {counts}. To compute: {', '.join(work)}."
    for by in dict.fromkeys(cell.speed for cell in plan if cell.speed):
        yield f"Hours: {by}."
    if any(cell.hours is None for cell in plan):
        yield UNKNOWN
    versions = about_versions({cell.directory.path.name: cell.version for cell in plan if cell.version})
    if versions:
        yield versions
    for folder in sorted({str(cell.directory.path.parent) for cell in plan}):
        yield f"Output: {folder}"


def _total(values: Sequence[float | None], noun: str, shown: Callable[[float | None], str]) -> list[str]:
    """`3.1 hours`, `3.1 hours (of 2 of 5 runs)`, or nothing where no run's is known."""
    known = [value for value in values if value is not None]
    if values and not known:
        return []
    part = "" if len(known) == len(values) else f" (of {len(known)} of {len(values)} runs)"
    return [f"{shown(sum(known))} {noun}{part}"]


def _flops(value: float | None, exact: bool) -> str:
    return "–" if value is None else "0" if value == 0 else f"{'' if exact else 'about '}{value:.2e}"


def _hours(value: float | None) -> str:
    return "–" if value is None else "0" if value == 0 else "<0.01" if value < 0.01 else f"{value:.2g}"
