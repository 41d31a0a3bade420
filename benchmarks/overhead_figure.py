"""What an epoch spends outside forward, backward and optimiser: data, metrics, logs, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.timing import quartiles
from benchmarks.workbench import make_job
from prune.engine.job import Job
from prune.engine.recover import find_progress
from prune.engine.restart import begin_state
from prune.engine.run import Run
from prune.engine.state import PruningState
from prune.engine.tracker import NoTracker
from prune.engine.watch import Watcher
from prune.rundir.status import StatusFile

EPOCHS = 3


class Arithmetic:
    """Seconds spent so far in forward passes (of training and of evaluation), backward passes and optimiser steps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def begin(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def end(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._began

    @contextmanager
    def watching(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Within this context the three are timed."""
        backward = Tensor.backward

        def timed(loss: Tensor) -> None:
            self.begin()
            backward(loss)
            self.end()

        hooks = [
            model.register_forward_pre_hook(self.begin),
            model.register_forward_hook(self.end),
            optimizer.register_step_pre_hook(self.begin),
            optimizer.register_step_post_hook(self.end),
        ]
        Tensor.backward = timed  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Tensor.backward = backward  # type: ignore[method-assign]
            for hook in hooks:
                hook.remove()


class EpochClock(Watcher):
    """Notes the wall clock and the arithmetic's at each epoch's beginning, when the one before is saved and logged."""

    def __init__(self, job: Job, arithmetic: Arithmetic):
        super().__init__(job, StatusFile(job.directory.status), NoTracker())
        self.arithmetic = arithmetic
        self.marks: list[tuple[float, float]] = []

    def __enter__(self) -> EpochClock:
        super().__enter__()
        return self

    def epoch_begins(self, state: PruningState, epoch: int) -> None:
        super().epoch_begins(state, epoch)
        self.marks.append((time.perf_counter(), self.arithmetic.seconds))


def overhead(scale: Scale, folder: Path) -> Figure:
    """1 - (forward + backward + optimiser) / epoch, of whole epochs as a run executes them, checkpoint included.

    The epochs are short (`scale.steps` steps and a validation), so what is paid once an epoch weighs more here than in one
    of CIFAR's 703 steps: the figure is an upper bound.
    """
    job = make_job(folder, scale, "method=dense", f"schedule.epochs_first={EPOCHS + 1}", steps=scale.steps)
    arithmetic = Arithmetic()
    with EpochClock(job, arithmetic) as watcher:
        run = Run(job, watcher, find_progress(job.config, job.directory))
        state = begin_state(job, run.progress)
        state.start()
        assert state.optimizer is not None
        with arithmetic.watching(state.model, state.optimizer):
            run.train(state)
            watcher.epoch_begins(state, EPOCHS + 1)
    spans = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(watcher.marks[1:], watcher.marks[2:], strict=False)]
    shares = [1 - inside / whole for whole, inside in spans]
    outside = quartiles([whole - inside for whole, inside in spans])[1]
    return Figure.of(
        "overhead",
        shares,
        0.02,
        True,
        epoch_seconds=quartiles([whole for whole, _ in spans])[1],
        seconds_outside=outside,
        steps_per_epoch=scale.steps,
    )
