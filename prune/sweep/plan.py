"""What a sweep would do: which cells are new, resumable, done or running already, and what is left to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from prune.base.text import count, literal, printable
from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.rundir.lock import holder
from prune.rundir.reader import RunRecord, read_run
from prune.sweep.hours import UNKNOWN, Speeds, hours
from prune.sweep.slurm_queue import JobState
from prune.sweep.stems import ALONE, Member, Share, shares
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
        share: its part in a shared dense state. One that takes state 0 over goes on from state 1.
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
    share: Share = ALONE

    @property
    def begins_with_shared(self) -> bool:
        """Whether a finished state 0 is there for it: its first start has been made by another run."""
        return self.share.takes_over and self.share.trained_by is None

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
    found = [_standing(run, jobs.get(run.directory.path)) for run in runs]
    members = [
        Member(config, path, run.planned_epochs if run.done else len(run.metrics), standing in ("running", "queued"))
        for (path, config), run, (standing, _) in zip(cells.items(), runs, found, strict=True)
    ]
    return [
        _plan(config, run, *where, share, speeds[config.outputs])
        for config, run, where, share in zip(cells.values(), runs, found, shares(members), strict=True)
    ]


def _record(config: RunConfig, directory: RunDirectory) -> RunRecord:
    """The run as its files tell it; without files, as one that has done nothing. (config.yaml is written at each start.)"""
    directory.check_format()
    return read_run(directory.path, config.model_dump(mode="json"))


def _standing(run: RunRecord, job: JobState | None) -> tuple[Standing, str]:
    """What the run is doing, and where."""
    if run.done:
        return "done", ""
    locked, submission = holder(run.directory.lock), read_submission(run.directory)
    if locked is not None:
        return "running", f"job {locked.job_id} on {locked.host}" if locked.job_id else f"on {locked.host}"
    if submission is not None and job is not None and not job.over:
        return "queued", submission.name
    return "resumable" if run.metrics or run.directory.has_begun else "new", ""


def _plan(config: RunConfig, run: RunRecord, standing: Standing, place: str, share: Share, speeds: Speeds) -> PlannedCell:
    directory = run.directory
    if standing == "done":
        end = (run.planned_states, 0)
        return PlannedCell(config, directory, "done", end, 0, 0.0, True, 0.0, version=other_version(run), share=share)
    done, position = len(run.metrics), run.position
    if share.takes_over:
        done, position = config.schedule.epochs_of(0), (1, 0)
    left = flops_left(config, done)
    time, by = _hours_left(config, done, left, speeds)
    epochs_left = max(run.planned_epochs - done, 0)
    return PlannedCell(config, directory, standing, position, epochs_left, left, is_exact(config), time, by, place, share=share)


def _hours_left(config: RunConfig, epochs_done: int, flops: float | None, speeds: Speeds) -> tuple[float | None, str]:
    """Hours and what they are judged by: an earlier run, else `hardware.throughput_tflops`, else nothing."""
    speed, stated = speeds.of(config), config.hardware.throughput_tflops
    if speed is not None:
        return hours(config, speed, epochs_done), f"at the speed of {speed.source}"
    if stated is not None and flops is not None:
        return flops / (stated * 1e12) / 3600, f"at hardware.throughput_tflops={stated:g}"
    return None, ""


def trainers_first(plan: Sequence[PlannedCell]) -> list[PlannedCell]:
    """In the order in which to start them: who trains a state 0 comes before who takes it over."""
    return sorted(plan, key=lambda cell: cell.share.takes_over)


def in_turn(plan: Sequence[PlannedCell]) -> list[PlannedCell]:
    """In the order of the plan, but who trains a state 0 has the turn of the first of those that take it over."""
    first: dict[Path, int] = {}
    for number, cell in enumerate(plan):
        if cell.share.trained_by is not None:
            first.setdefault(cell.share.trained_by, number)

    def turn(numbered: tuple[int, PlannedCell]) -> tuple[int, bool]:
        number, cell = numbered
        trains = cell.share.trained_by == cell.directory.path
        return (first[cell.directory.path] if trains else number), not trains

    return [cell for _, cell in sorted(enumerate(plan), key=turn)]


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
    yield f"{count(len(plan), 'run')}: {counts}. To compute: {', '.join(work)}."
    over = sum(cell.share.takes_over for cell in left)
    if over:
        verbs = "takes it over and begins" if over == 1 else "take it over and begin"
        yield f"State 0 is trained once where runs have the same: {over} of these {verbs} with state 1."
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
