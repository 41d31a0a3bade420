"""Where a run stands, and the state that it is in, rebuilt from files alone: starting and resuming are the same path."""

from __future__ import annotations

import logging
import time

from prune.architectures.build import build_model, restore_model
from prune.architectures.group import MEASURED
from prune.base.errors import UserError
from prune.base.files import read_json
from prune.engine import memory
from prune.engine.job import Job
from prune.engine.state import PruningState
from prune.pruning.keepset import KeepSet
from prune.pruning.options import rewind_epoch
from prune.rundir.checkpoint import Progress
from prune.rundir.directory import RunDirectory
from prune.rundir.pretrained import remember_weights

log = logging.getLogger(__name__)


def begin_state(job: Job, progress: Progress, before: PruningState | None = None) -> PruningState:
    """The state that `progress` points to: just begun by the method, or as it was when the checkpoint was made.

    Args:
        before: the state that has just ended in this process, whose model goes on (and its compiled code with it).
    """
    state = _present_state(job, progress, before)
    if progress.live is not None:
        state.restore(progress.live)
        return state
    began = time.monotonic()
    method = job.method.of(state.index)
    method.begin(state)
    if state.index:
        method.prune(state)
    _announce(state)
    state.seconds += time.monotonic() - began
    return state


def _present_state(job: Job, progress: Progress, before: PruningState | None) -> PruningState:
    """The state with its model and what the states before left to it."""
    if not progress.model:
        return _first_state(job, progress)
    alive = KeepSet.from_lists(progress.alive)
    if before is None:
        state = job.state(progress.state, restore_model(job.architecture, alive.counts(), progress.model, job.device), alive)
        state.run_memory = memory.unpack(progress.run_memory, job.device) or {}
    else:
        state = job.state(progress.state, before.model, alive, before.forward)
        state.run_memory = before.run_memory
    if progress.states:
        last = progress.states[-1]
        state.epochs_since_rewind, state.training_flops = last["epochs_since_rewind"], last["training_flops"]
    _ensure_rewind_points(job, state)
    return state


def _first_state(job: Job, progress: Progress) -> PruningState:
    model = build_model(job.architecture, job.config.seed).to(job.device)
    remember_weights(job.config, job.directory)
    remember_facts(job.directory, progress)
    state = job.state(0, model, KeepSet.dense(job.architecture.structure))
    if "init" in job.config.method.rewind_points:
        state.rewind_points.write("init", state.tensors())
    if "init" in job.sharing.others:
        job.sharing.keep("init", state.tensors())
    return state


def capture_rewind_point(job: Job, state: PruningState, epoch: int) -> None:
    """Write the point `epoch:K` when epoch K of state 0 has just finished, if this run or one that shares it wants it."""
    if state.index == 0:
        for point in job.config.method.rewind_points:
            if rewind_epoch(point) == epoch:
                state.rewind_points.write(point, state.tensors())
        for point in job.sharing.others:
            if rewind_epoch(point) == epoch:
                job.sharing.keep(point, state.tensors())


def remember_facts(directory: RunDirectory, progress: Progress) -> None:
    """Have the checkpoint hold what was found at first start."""
    progress.facts = {path.name: read_json(path) for path in directory.facts if path.exists()}


def _ensure_rewind_points(job: Job, state: PruningState) -> None:
    """The points that were written must be there, and after state 0 all; `init` can be made again, `epoch:K` cannot."""
    points = state.rewind_points
    for name in job.config.method.rewind_points:
        written = job.digests.of(points.path(name)) is not None
        if points.has(name) or not (written or state.index):
            continue
        if name != "init":
            raise UserError(
                f"{points.path(name)} is missing or damaged and method.rewind={name} cannot be made again; restore it, or set "
                "another name to start afresh."
            )
        log.warning("%s is missing or damaged; made again from the configuration", points.path(name))
        points.write(name, build_model(job.architecture, job.config.seed).state_dict())


def _announce(state: PruningState) -> None:
    """Say what the state keeps: counted, since a joint ranking's numbers by kind follow from the scores."""
    counts, budget = (state.alive if state.marked is None else state.marked).counts(), state.budget
    kept = state.structure.by_kind(counts)
    left = state.structure.size(budget.measure, counts) / state.structure.size(budget.measure)
    log.info(
        "state %d: rate %.3f%s, keeps %s%s",
        state.index,
        budget.rate,
        "" if budget.limit is None else f" of all {MEASURED[budget.measure]}, {100 * left:.2f} % stay",
        " and ".join(f"{units} of {state.structure.units(kind)} {kind}" for kind, units in kept.items()),
        "" if state.marked is None else "; the others are marked until their removal",
    )
    if state.options.min_per_block == "auto":
        bare = [kind for kind, budget in state.budget.kinds.items() if budget.floor == 0]
        if bare:
            log.warning(
                "state %d: too few %s stay for one in each block; blocks may lose them all",
                state.index,
                " and ".join(bare),
            )
