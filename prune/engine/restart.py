"""Where a run stands, and the state that it is in, rebuilt from files alone: starting and resuming are the same path."""

from __future__ import annotations

import logging
import time

from prune.architectures.build import build_model, restore_model
from prune.base.errors import UserError
from prune.base.files import read_json, read_jsonl, remove_unfinished, sha256, write_jsonl
from prune.engine import memory
from prune.engine.job import Job
from prune.engine.state import PruningState
from prune.pruning.keepset import KeepSet
from prune.pruning.options import rewind_epoch
from prune.pruning.schedule import epochs_before
from prune.rundir.checkpoint import Progress, load_last, read_run_memory, read_tensors
from prune.rundir.format import check_format
from prune.rundir.pretrained import remember_weights

log = logging.getLogger(__name__)


def find_progress(job: Job) -> Progress:
    """The run's position: from last.pt, else from the newest complete state, else the start.

    Both jsonl files are rewritten to say exactly what the position says, and files that a kill left half-written are removed.
    """
    directory = job.directory
    remove_unfinished(directory.checkpoints)
    progress = load_last(directory)
    if progress is None:
        progress = _from_complete_states(job)
    if progress is None:
        progress = Progress()
    elif progress.state < job.config.schedule.states:
        log.info("resuming at state %d, epoch %d, step %d", progress.state, progress.epoch, progress.step)
    write_jsonl(directory.metrics, progress.metrics)
    write_jsonl(directory.states, progress.states)
    return progress


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
    job.method.begin(state)
    if state.index:
        job.method.prune(state)
    _announce(state)
    state.seconds += time.monotonic() - began
    return state


def _present_state(job: Job, progress: Progress, before: PruningState | None) -> PruningState:
    """The state with its model and what the states before left to it."""
    if not progress.model:
        return _first_state(job)
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


def _first_state(job: Job) -> PruningState:
    model = build_model(job.architecture, job.config.seed).to(job.device)
    remember_weights(job.config, job.directory)
    state = job.state(0, model, KeepSet.dense(job.architecture.structure))
    if "init" in job.config.method.rewind_points:
        state.rewind_points.write("init", state.tensors())
    return state


def capture_rewind_point(state: PruningState, epoch: int) -> None:
    """Write the point `epoch:K` when epoch K of state 0 has just finished, if the method may rewind to it."""
    if state.index == 0:
        for point in state.config.method.rewind_points:
            if rewind_epoch(point) == epoch:
                state.rewind_points.write(point, state.tensors())


def _ensure_rewind_points(job: Job, state: PruningState) -> None:
    """After state 0 the rewind points must be there; `init` can be made again from the configuration, `epoch:K` cannot."""
    for point in job.config.method.rewind_points if state.index else ():
        if state.rewind_points.has(point):
            continue
        if point != "init":
            raise UserError(
                f"{state.rewind_points.path(point)} is missing and method.rewind={point} cannot be made again; set another "
                "name to start afresh."
            )
        log.warning("the rewind point is missing; made again from the configuration")
        state.rewind_points.write(point, build_model(job.architecture, job.config.seed).state_dict())


def _from_complete_states(job: Job) -> Progress | None:
    """The start of the state after the newest whose files and lines are all there."""
    states, metrics = read_jsonl(job.directory.states), read_jsonl(job.directory.metrics)
    for index in reversed(range(len(states))):
        folder = job.directory.state(index)
        about, final = read_json(job.directory.manifest(index)), folder / "final.safetensors"
        lines = [line for line in metrics if line["state"] <= index]
        expected = epochs_before(vars(job.config.schedule), index + 1)
        if about is None or not final.exists() or len(lines) != expected:
            continue
        check_format(job.directory.manifest(index), about.get("format"))
        memories = job.directory.run_memory(index)
        damaged = [
            path
            for path, name in ((final, "final"), (memories, "run_memory"))
            if name in about["sha256"] and not (path.exists() and sha256(path) == about["sha256"][name])
        ]
        if damaged:
            log.warning("%s is missing or damaged (its checksum does not match)", damaged[0])
            continue
        log.warning("no whole last.pt; going on from the final model of state %d", index)
        return Progress(
            state=index + 1,
            metrics=lines,
            states=states[: index + 1],
            alive={name: group["kept"] for name, group in about["groups"].items()},
            run_memory=read_run_memory(job.directory, index),
            model=read_tensors(final),
        )
    if states:
        log.warning("no whole last.pt and no complete state's model; starting afresh")
    return None


def _announce(state: PruningState) -> None:
    """Say what the state keeps: counted, since a joint ranking's numbers by kind follow from the scores."""
    kept = state.structure.by_kind((state.alive if state.marked is None else state.marked).counts())
    log.info(
        "state %d: rate %.3f, keeps %s%s",
        state.index,
        state.budget.rate,
        " and ".join(f"{units} of {state.structure.units(kind)} {kind}" for kind, units in kept.items()),
        "" if state.marked is None else "; the others are marked until their removal",
    )
    if state.config.method.min_per_block == "auto":
        bare = [kind for kind, budget in state.budget.kinds.items() if budget.floor == 0]
        if bare:
            log.warning(
                "state %d: too few %s stay for one in each block; blocks may lose them all",
                state.index,
                " and ".join(bare),
            )
