"""Where a run stands, and the state that it is in, rebuilt from files alone: starting and resuming are the same path."""

from __future__ import annotations

import logging

import torch

from prune.checkpoint import Progress, load_last, read_tensors, write_tensors
from prune.compact import shrink_structure
from prune.errors import UserError
from prune.files import read_json, read_jsonl, remove_unfinished, sha256, write_jsonl
from prune.job import Job
from prune.model import build_model, create
from prune.state import PruningState
from prune.units import KINDS, KeepSet
from prune.weights import remember_weights

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
    alive = KeepSet.from_lists(**progress.alive)
    with torch.device("meta"):
        model = create(job.config.model, job.shape)
    shrink_structure(model, alive)
    # Clones: training changes the model's tensors in place, and the progress's own must stay what they are.
    model.load_state_dict({name: t.to(job.device, copy=True) for name, t in progress.model.items()}, assign=True)
    state = PruningState(job, progress.state, model, alive)
    if progress.live is not None:
        state.restore(progress.live)
        return state
    _ensure_rewind_point(job)
    job.method.begin(state)
    _announce(state)
    return state


def capture_rewind_point(job: Job, state: PruningState, epoch: int) -> None:
    """Write the point of `rewind: epoch:K` when epoch K of state 0 has just finished."""
    if state.index == 0 and job.config.method.rewind_epoch == epoch:
        _write_rewind_point(job, state)


def _first_state(job: Job) -> PruningState:
    model = build_model(job.config.model, job.shape, job.config.seed).to(job.device)
    remember_weights(job.config, job.directory)
    state = PruningState(job, 0, model, KeepSet.dense(job.shape))
    if job.config.method.rewind == "init":
        _write_rewind_point(job, state)
    _announce(state)
    return state


def _ensure_rewind_point(job: Job) -> None:
    """The rewind point must be there; `init` can be made again from the configuration, `epoch:K` cannot."""
    if job.config.method.rewind == "none" or job.directory.rewind.exists():
        return
    if job.config.method.rewind == "init":
        log.warning("the rewind point is missing; made again from the configuration")
        model = build_model(job.config.model, job.shape, job.config.seed)
        write_tensors(job.directory.rewind, model.state_dict())
        return
    raise UserError(
        f"{job.directory.rewind} is missing and method.rewind={job.config.method.rewind} cannot be made again; "
        "set another name to start afresh."
    )


def _write_rewind_point(job: Job, state: PruningState) -> None:
    """Once: a replayed epoch would write the same bytes, and nothing else may ever change them."""
    job.directory.checkpoints.mkdir(exist_ok=True)
    if not job.directory.rewind.exists():
        write_tensors(job.directory.rewind, state.tensors())
        job.directory.rewind.chmod(0o444)


def _from_complete_states(job: Job) -> Progress | None:
    """The start of the state after the newest whose files and lines are all there."""
    states, metrics = read_jsonl(job.directory.states), read_jsonl(job.directory.metrics)
    for index in reversed(range(len(states))):
        folder = job.directory.state(index)
        about, final = read_json(folder / "pruned.json"), folder / "final.safetensors"
        lines = [line for line in metrics if line["state"] <= index]
        expected = sum(job.config.epochs(before) for before in range(index + 1))
        if about is None or not final.exists() or len(lines) != expected:
            continue
        if sha256(final) != about["sha256"]["final"]:
            log.warning("%s is damaged (its checksum does not match)", final)
            continue
        log.warning("no whole last.pt; going on from the final model of state %d", index)
        return Progress(
            state=index + 1,
            metrics=lines,
            states=states[: index + 1],
            alive={kind: about[kind] for kind in KINDS},
            model=read_tensors(final),
        )
    if states:
        log.warning("no whole last.pt and no complete state's model; starting afresh")
    return None


def _announce(state: PruningState) -> None:
    shape, budget = state.job.shape, state.budget
    log.info(
        "state %d: rate %.3f, keeps %d of %d heads and %d of %d neurons%s",
        state.index, budget.rate, budget.heads.kept, shape.heads, budget.neurons.kept, shape.neurons,
        "" if state.marked is None else "; the others are marked until their removal",
    )  # fmt: skip
    if state.job.config.method.min_per_block == "auto":
        bare = [name for name, kind in (("heads", budget.heads), ("neurons", budget.neurons)) if kind.floor == 0]
        if bare:
            log.warning(
                "state %d: too few %s stay for one in each block; blocks may lose them all",
                state.index,
                " and ".join(bare),
            )
