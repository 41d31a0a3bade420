"""Where a run stands, and the state that it is in, rebuilt from files alone: starting and resuming are the same path."""

from __future__ import annotations

import logging

from prune.architectures.build import build_model, restore_model
from prune.base.errors import UserError
from prune.base.files import read_json, read_jsonl, remove_unfinished, sha256, write_jsonl
from prune.engine.job import Job
from prune.engine.state import PruningState
from prune.pruning.keepset import KeepSet
from prune.pruning.schedule import epochs_before
from prune.rundir.checkpoint import Progress, load_last, read_tensors
from prune.rundir.format import check_format
from prune.rundir.pretrained import remember_weights
from prune.rundir.rewind import RewindPoints

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


def begin_state(job: Job, progress: Progress) -> PruningState:
    """The state that `progress` points to: just begun by the method, or as it was when the checkpoint was made."""
    if not progress.model:
        return _first_state(job)
    alive = KeepSet.from_lists(progress.alive)
    model = restore_model(job.architecture, alive.counts(), progress.model, job.device)
    state = job.state(progress.state, model, alive)
    if progress.live is not None:
        state.restore(progress.live)
        return state
    _ensure_rewind_point(job, state.rewind_points)
    job.method.begin(state)
    _announce(state)
    return state


def capture_rewind_point(state: PruningState, epoch: int) -> None:
    """Write the point of `rewind: epoch:K` when epoch K of state 0 has just finished."""
    if state.index == 0 and state.config.method.rewind_epoch == epoch:
        _write_rewind_point(state)


def _first_state(job: Job) -> PruningState:
    model = build_model(job.architecture, job.config.seed).to(job.device)
    remember_weights(job.config, job.directory)
    state = job.state(0, model, KeepSet.dense(job.architecture.structure))
    if job.config.method.rewind == "init":
        _write_rewind_point(state)
    _announce(state)
    return state


def _ensure_rewind_point(job: Job, points: RewindPoints) -> None:
    """The rewind point must be there; `init` can be made again from the configuration, `epoch:K` cannot."""
    point = job.config.method.rewind_point
    if point is None or points.has(point):
        return
    if point == "init":
        log.warning("the rewind point is missing; made again from the configuration")
        points.write(point, build_model(job.architecture, job.config.seed).state_dict())
        return
    raise UserError(
        f"{points.path(point)} is missing and method.rewind={job.config.method.rewind} cannot be made again; "
        "set another name to start afresh."
    )


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
        if sha256(final) != about["sha256"]["final"]:
            log.warning("%s is damaged (its checksum does not match)", final)
            continue
        log.warning("no whole last.pt; going on from the final model of state %d", index)
        return Progress(
            state=index + 1,
            metrics=lines,
            states=states[: index + 1],
            alive={name: group["kept"] for name, group in about["groups"].items()},
            model=read_tensors(final),
        )
    if states:
        log.warning("no whole last.pt and no complete state's model; starting afresh")
    return None


def _write_rewind_point(state: PruningState) -> None:
    """Write the state's present tensors as the rewind point of its configuration."""
    point = state.config.method.rewind_point
    assert point is not None
    state.rewind_points.write(point, state.tensors())


def _announce(state: PruningState) -> None:
    budgets = state.budget.kinds
    log.info(
        "state %d: rate %.3f, keeps %s%s",
        state.index,
        state.budget.rate,
        " and ".join(f"{budget.kept} of {budget.units} {kind}" for kind, budget in budgets.items()),
        "" if state.marked is None else "; the others are marked until their removal",
    )
    if state.config.method.min_per_block == "auto":
        bare = [kind for kind, budget in budgets.items() if budget.floor == 0]
        if bare:
            log.warning(
                "state %d: too few %s stay for one in each block; blocks may lose them all",
                state.index,
                " and ".join(bare),
            )
