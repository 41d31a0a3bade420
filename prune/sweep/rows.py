"""A run in one row: what it is doing, how far it is, how good so far, when it will be done. For all tables of a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from prune.base.text import duration, literal
from prune.rundir.reader import RunRecord, Unreadable
from prune.sweep.submission import read_submission
from prune.sweep.summary import COLOURS

RECENT_EPOCHS = 3
"""Epochs whose time says how long the next ones will take."""


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        status: queued | running | done | failed | preempted | lost (its heartbeat has stopped) | unreadable.
        state, epoch: the epoch in progress, counted from 0.
        val_accuracy: of the newest epoch; test_accuracy: of the newest finished state's best model. Percent.
        eta_seconds: time to go, judged by the newest epochs; None where that means nothing.
        error: what went wrong with the run, or with one of its files.

    Numbers are None where the run cannot be read.
    """

    run: str
    status: str
    state: int | None = None
    states: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    epochs_done: int | None = None
    epochs_total: int | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    eta_seconds: float | None = None
    executor: str | None = None
    job: str | None = None
    node: str | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself. (SLURM may start a preempted run again.)"""
        return self.status in ("done", "failed", "lost", "unreadable") or (
            self.status == "preempted" and self.executor != "slurm"
        )


def row_of(run: RunRecord | Unreadable, waiting: str | None = None, ended: str | None = None) -> Row:
    """The row of a run.

    Args:
        waiting: replaces the status of a run that SLURM has in its queue.
        ended: how the job of a run ended that is not running any more and did not finish.
    """
    if isinstance(run, Unreadable):
        return Row(run.id, "unreadable", error=run.why)
    status, states = run.status, run.planned_states
    state, epoch = run.position
    word, error = status.get("status", "queued"), status.get("error")
    submission = read_submission(run.directory)
    if submission is not None and submission.verdict and word in ("queued", "lost", "preempted", "running"):
        ended = submission.verdict
    if ended:
        word, error = "failed", ended
    if waiting and word in ("queued", "lost", "preempted"):
        word = waiting
    if word == "lost":
        since = f" since {status['heartbeat']}" if "heartbeat" in status else ""
        error = f"no heartbeat{since}; the command that started it goes on from its last checkpoint"
    running = word == "running"
    if running and status.get("waiting"):
        word = "waiting (for state 0)"
    submitted = submission.job_id if submission is not None else None
    return Row(
        run=run.id,
        status=word,
        state=state,
        states=states,
        epoch=epoch,
        epochs=run.epochs_of(min(state, states - 1)),
        epochs_done=run.planned_epochs - run.epochs_left,
        epochs_total=run.planned_epochs,
        val_accuracy=run.metrics[-1]["val_accuracy"] if run.metrics else None,
        test_accuracy=run.states[-1]["test_accuracy_best"] if run.states else None,
        eta_seconds=_eta(run) if running else None,
        executor=submission.executor if submission is not None else None,
        job=submitted or status.get("job_id"),
        node=(status.get("node") or status.get("host")) if not word.startswith("queued") else None,
        error=error if word in ("failed", "lost") else f"{run.problems[0]}." if run.problems else None,
    )


def _eta(run: RunRecord) -> float | None:
    recent = [line["seconds"] for line in run.metrics[-RECENT_EPOCHS:]]
    return run.epochs_left * sum(recent) / len(recent) if recent else None


def table_of(rows: Iterable[Row], title: str) -> Table:
    """The table that `prune status` and a waiting launch.py show."""
    table = Table(title=literal(title), title_justify="left", box=SIMPLE)
    table.add_column("run", overflow="fold")
    table.add_column("status")
    for heading in ("state", "epoch", "val acc", "test acc", "ETA"):
        table.add_column(heading, justify="right")
    for heading in ("job", "node"):
        table.add_column(heading)
    for row in rows:
        colour = COLOURS.get(row.status.split()[0], "white")
        if row.state is None or row.states is None:
            table.add_row(literal(row.run), f"[{colour}]{literal(row.status)}[/{colour}]", *"–––––––")
            continue
        finished = row.state >= row.states
        table.add_row(
            literal(row.run),
            f"[{colour}]{literal(row.status)}[/{colour}]",
            f"{row.states if finished else row.state} of {row.states}",
            "–" if finished else f"{row.epoch} of {row.epochs}",
            _percent(row.val_accuracy),
            _percent(row.test_accuracy),
            "–" if row.eta_seconds is None else duration(row.eta_seconds),
            literal(row.job or "–"),
            literal(row.node or "–"),
        )
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def counts(rows: Iterable[Row]) -> str:
    """`2 running, 1 done`."""
    words = [row.status.split()[0] for row in rows]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
