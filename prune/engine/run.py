"""The method: for each state, prune → train → evaluate → save; from wherever the run stands."""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prune.base.errors import Preempted, TrainingFailed
from prune.base.files import append_jsonl, write_jsonl
from prune.engine import memory
from prune.engine.adopt import adopt, take
from prune.engine.epoch import EpochSums, StepHooks, lr_at, train_epoch
from prune.engine.job import Job
from prune.engine.method import Method
from prune.engine.restart import begin_state, capture_rewind_point, remember_facts
from prune.engine.saver import Saver
from prune.engine.state import PruningState
from prune.engine.state_line import Tested, check_finite, state_line
from prune.engine.watch import Watcher
from prune.rundir.checkpoint import Progress, outdated, remove, resume_facts, save_state
from prune.rundir.counts import remember_counts
from prune.rundir.digests import write_checksums
from prune.rundir.manifest import describe_state
from prune.rundir.predictions import save_predictions

log = logging.getLogger(__name__)


class Run:
    """One run in progress.

    Args:
        job: what does not change.
        watcher: is told of steps, epochs and states (progress bar, status.json, W&B).
        progress: where it stands.
    """

    def __init__(self, job: Job, watcher: Watcher, progress: Progress):
        self.job, self.watcher, self.progress = job, watcher, progress
        self.saver = Saver(job.directory, job.config.checkpoint.every_seconds, job.device)

    def execute(self, states: int | None = None) -> None:
        """Run to the end, or until so many states are finished.

        Raises:
            Preempted: after saving, if the run was asked to stop.
            TrainingFailed: if a loss or a weight is not finite; the last good checkpoint stays.
        """
        self.watcher.begin(self.progress)
        self.take_over()
        if not self.progress.begun:
            self.write_first()
        state: PruningState | None = None
        end = self.job.config.schedule.states if states is None else states
        with self.saver:
            while self.progress.state < end:
                self.job.stop.check()
                state = begin_state(self.job, self.progress, state)
                self.train(state)
                self.finish(state)
        if self.progress.state == self.job.config.schedule.states:
            write_checksums(self.job.directory, self.progress.files)

    def take_over(self) -> None:
        """State 0 may be there already, trained by another run of the sweep."""
        job, found = self.job, self.job.sharing.found
        if found is None:
            return
        taken = take(job, found)
        if isinstance(taken, str):
            job.sharing.decline(taken)
            return
        remember_counts(job.config, job.directory, job.architecture.structure)
        adopt(job, self.progress, found, taken)
        self.write()
        write_jsonl(job.directory.metrics, self.progress.metrics)
        write_jsonl(job.directory.states, self.progress.states)
        self.watcher.adopted(self.progress)

    def train(self, state: PruningState) -> None:
        """The state's epochs, from the one in progress on."""
        state.start()
        for epoch in range(self.progress.epoch, state.epochs):
            self.watcher.epoch_begins(state, epoch)
            sums = self.train_rest_of_epoch(state, epoch)
            line = self.evaluate_epoch(state, epoch, sums)
            began = time.monotonic()
            method = self.job.method.of(state.index)
            method.end_epoch(state, epoch)
            if method.can_be_best(state, epoch):
                state.keep_if_best(epoch)
            check_finite(state.tensors(), state)
            capture_rewind_point(self.job, state, epoch)
            state.seconds += time.monotonic() - began
            self.position(state, epoch + 1, 0, None)
            self.save()
            append_jsonl(self.job.directory.metrics, line)
            self.watcher.epoch(line)
            self.job.stop.check()

    def train_rest_of_epoch(self, state: PruningState, epoch: int) -> EpochSums:
        """Train what is left of an epoch; when asked to stop, save between two steps and leave."""
        steps, flops = self.job.loader.steps_per_epoch, state.flops_of_step()
        start, sums = self.progress.step, self.restored_sums(steps)
        began, before = time.monotonic(), sums.seconds

        def done(count: int) -> None:
            nonlocal flops
            state.training_flops += flops
            flops = state.flops_of_step()  # of the next step: in this one, units may have gone
            self.watcher.step(count)
            self.saver.check()
            if self.job.stop.requested is not None:
                sums.seconds = before + time.monotonic() - began
                self.leave(state, epoch, count, sums)

        if start < steps:
            train_epoch(state, step_hooks(self.job.method.of(state.index), state), epoch, start, sums, done)
        sums.check_finite(state.index, epoch, steps, lambda step: lr_at(state, epoch * steps + step))
        sums.seconds = before + time.monotonic() - began
        return sums

    def evaluate_epoch(self, state: PruningState, epoch: int, sums: EpochSums) -> dict[str, Any]:
        """Validate and write the epoch's line, which describes the model before anything is removed."""
        job, steps, began = self.job, self.job.loader.steps_per_epoch, time.monotonic()
        try:
            val = state.validate(job.stop.check)
        except Preempted:
            self.leave(state, epoch, steps, sums)
        if not math.isfinite(val.loss):
            raise TrainingFailed(
                f"the validation loss became {val.loss} after state {state.index}, epoch {epoch} "
                f"(learning rate {state.lr:g}); lower optim.lr or set optim.grad_clip."
            )
        state.epochs_since_rewind += 1
        seconds = sums.seconds + time.monotonic() - began
        state.seconds += seconds
        images, last = steps * job.loader.batch_size, (epoch + 1) * steps - 1
        line = {
            "state": state.index,
            "epoch": epoch,
            "lr": lr_at(state, last),
            "penalty": job.method.of(state.index).penalty(state, last) if state.index else None,
            "train_loss": sums.losses.double().mean().item(),
            "train_accuracy": 100 * sums.correct.item() / images,
            "val_loss": val.loss,
            "val_accuracy": val.accuracy,
            "parameters": state.parameters(),
            "seconds": round(seconds, 3),
            "images_per_second": round(images / sums.seconds, 1),
        }
        self.progress.metrics.append(line)
        return line

    def finish(self, state: PruningState) -> None:
        """The state's training is over: test its best and final model, write them and the state's line, move on."""
        job, began = self.job, time.monotonic()
        if state.best is None:  # a state without epochs: what it began with is all there is
            state.validate()
            state.keep_if_best(None)
        job.method.of(state.index).end_state(state)
        assert state.best is not None
        self.saver.wait()
        final = {name: tensor.clone() for name, tensor in state.tensors().items()}
        check_finite(final, state)
        tested = self.test(state, final)
        state.seconds += time.monotonic() - began
        line = state_line(state, tested)
        remembered = memory.pack(state.run_memory, "state.run_memory") if state.run_memory else None
        self.progress.states.append(line)
        save_predictions(job.digests, state.index, tested.predictions)
        save_state(job.digests, state.index, final, state.best["tensors"], self.manifest(state, line), remembered)
        self.progress.state, self.progress.epoch, self.progress.step = state.index + 1, 0, 0
        self.progress.alive, self.progress.model, self.progress.live = state.alive.to_lists(), final, None
        self.progress.run_memory = remembered
        if state.index == 0:
            self.share(state)
        old = outdated(job.directory, state.index, job.config.checkpoint.keep, job.teachers.own)
        for path in old:
            job.digests.forget(path)
        self.write()
        append_jsonl(job.directory.states, line)
        remove(old)
        self.watcher.state(line, job.directory.state(state.index))

    def share(self, state: PruningState) -> None:
        """State 0 is finished: runs that have the same may take it over. Before it is saved, so that a kill loses nothing."""
        if state.run_memory or len(state.record):
            method = self.job.method.of(0).options.name
            log.warning("method.name=%s acts in state 0 and should declare `changes_state_0`; state 0 is not shared", method)
            return
        self.job.sharing.publish(self.job.digests, self.progress)

    def test(self, state: PruningState, final: dict[str, Tensor]) -> Tested:
        """The state's best and final model, whose tensors are `final`, on test; and what the best one predicts."""
        assert state.best is not None
        check = self.job.stop.check
        try:
            of_final = state.measure("test", check)
            if state.best["epoch"] in (None, state.epochs - 1):
                of_best = of_final
            else:
                state.model.load_state_dict(state.best["tensors"])
                of_best = state.measure("test", check)
            predictions = {"test": of_best, "val": state.measure("val", check)}
        except Preempted:
            state.model.load_state_dict(final)  # last.pt must hold the model that ended the last epoch
            self.write()
            raise
        state.model.load_state_dict(final)
        return Tested(of_best, of_final, predictions)

    def manifest(self, state: PruningState, line: dict[str, Any]) -> dict[str, Any]:
        """What pruned.json says of the state's models."""
        job = self.job
        name, kept = job.directory.path.name, state.alive.to_lists()
        about = describe_state(job.config, job.architecture, job.facts, name, kept, line)
        return {**about, "resume": resume_facts(self.progress)}

    # ---- saving ----------------------------------------------------------------------------------------------------

    def position(self, state: PruningState, epoch: int, step: int, sums: EpochSums | None) -> None:
        """Note where the run stands, with all it takes to go on from there."""
        progress = self.progress
        check_finite(state.tensors(), state)
        progress.epoch, progress.step = epoch, step
        progress.alive, progress.model = state.alive.to_lists(), state.tensors()
        progress.live = {**state.dump(), "sums": None if sums is None else vars(sums)}

    def save(self) -> None:
        """At an epoch's end: write last.pt, unless `checkpoint.every_seconds` says that it is too soon."""
        if self.job.stop.requested is not None:
            self.write()
        elif self.saver.due():
            self.saver.save(self.progress)

    def write_first(self) -> None:
        """The run begins: from now on last.pt says what was found in the data and how many threads there were."""
        self.progress.threads = torch.get_num_threads()
        remember_counts(self.job.config, self.job.directory, self.job.architecture.structure)
        remember_facts(self.job.directory, self.progress)
        self.write()

    def write(self) -> None:
        self.saver.write(self.progress)

    def leave(self, state: PruningState, epoch: int, step: int, sums: EpochSums) -> None:
        """Asked to stop: save the exact position within the epoch, and raise `Preempted`."""
        steps = self.job.loader.steps_per_epoch
        sums.check_finite(state.index, epoch, step, lambda at: lr_at(state, epoch * steps + at))
        self.position(state, epoch, step, sums)
        self.write()
        self.job.stop.check()

    def restored_sums(self, steps: int) -> EpochSums:
        """The sums of the epoch in progress: those of the checkpoint when it lies within the epoch, else empty ones."""
        progress, device = self.progress, self.job.device
        if progress.step == 0:
            return EpochSums.empty(steps, device)
        assert progress.live is not None
        stored = progress.live["sums"]
        progress.step = 0  # the epochs after this one begin at their first step
        return EpochSums(stored["losses"].to(device), stored["correct"].to(device), stored["seconds"])


def step_hooks(method: Method, state: PruningState) -> StepHooks:
    """The method's part in each step of a state."""
    return StepHooks(
        loss_term=partial(method.loss_term, state) if method.has_loss_term else None,
        before_step=partial(method.before_step, state),
        after_step=partial(method.after_step, state),
    )
