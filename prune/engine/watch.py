"""What is told of a run while it goes on: a bar on a terminal, one line per epoch in the log, status.json, the tracker."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from prune.engine.tracker import Tracker
from prune.rundir.status import StatusFile

if TYPE_CHECKING:
    from prune.engine.job import Job
    from prune.engine.state import PruningState
    from prune.rundir.checkpoint import Progress

log = logging.getLogger(__name__)


class Watcher:
    """Tells of one run. Use as a context: the bar is taken down at the end, however it ends."""

    def __init__(self, job: Job, status: StatusFile, tracker: Tracker, epoch_ended: Callable[[], None] | None = None):
        self.job, self.status, self.tracker, self.epoch_ended = job, status, tracker, epoch_ended
        self.total = job.config.epochs_before(job.config.schedule.states)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
        )
        self.bar = Bar(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self.task = self.bar.add_task("", total=job.loader.steps_per_epoch)

    def __enter__(self) -> Watcher:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def begin(self, progress: Progress) -> None:
        self.status.update(
            state=progress.state,
            epoch=progress.epoch,
            epochs_done=len(progress.metrics),
            epochs_total=self.total,
            dense=progress.facts.get(self.job.directory.dense.name),
        )

    def adopted(self, progress: Progress) -> None:
        """State 0 was taken over: its lines are told as if they had just been trained, but not logged one by one."""
        folder = self.job.directory.state(0)
        for line in progress.metrics:
            self.tracker.epoch(line)
        self.begin(progress)
        (line,) = progress.states
        self.status.update(test_accuracy=line["test_accuracy_best"], val_accuracy=progress.metrics[-1]["val_accuracy"])
        self.tracker.state(line, folder)

    def epoch_begins(self, state: PruningState, epoch: int) -> None:
        label = f"state {state.index}/{len(self.job.budgets) - 1} epoch {epoch + 1}/{state.epochs}"
        self.bar.reset(self.task, description=label, total=self.job.loader.steps_per_epoch)

    def step(self, done: int) -> None:
        if not self.bar.disable:
            self.bar.update(self.task, completed=done)

    def epoch(self, line: dict[str, Any]) -> None:
        penalty = "" if line["penalty"] is None else f"  λ {line['penalty']:.3g}"
        log.info(
            "state %2d epoch %2d  lr %.3g%s  train loss %.4f acc %6.2f  val loss %.4f acc %6.2f  %.1f s",
            line["state"], line["epoch"], line["lr"], penalty, line["train_loss"], line["train_accuracy"],
            line["val_loss"], line["val_accuracy"], line["seconds"],
        )  # fmt: skip
        self.status.update(
            state=line["state"],
            epoch=line["epoch"] + 1,
            epochs_done=self.status.value("epochs_done", 0) + 1,
            val_accuracy=line["val_accuracy"],
        )
        self.tracker.epoch(line)
        if self.epoch_ended is not None:
            self.epoch_ended()

    def state(self, line: dict[str, Any], folder: Path) -> None:
        log.info(
            "state %2d done: rate %.3f, %s parameters, best epoch %s, test accuracy best %.2f final %.2f",
            line["state"], line["rate"], f"{line['parameters']:,}", line["best_epoch"],
            line["test_accuracy_best"], line["test_accuracy_final"],
        )  # fmt: skip
        if line["marked_norm_ratio"] is not None:  # units were marked, and are gone
            log.info(
                "state %2d removal: marked norm ratio %.2e, val accuracy %.2f before, %.2f after",
                line["state"], line["marked_norm_ratio"],
                line["val_accuracy_before_removal"], line["val_accuracy_after_removal"],
            )  # fmt: skip
        self.status.update(state=line["state"] + 1, epoch=0, test_accuracy=line["test_accuracy_best"])
        self.tracker.state(line, folder)
