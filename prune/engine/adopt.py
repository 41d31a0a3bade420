"""A run takes its state 0 from a shared dense state. Its files are then those that it would have had by training itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from torch import Tensor

from prune.base.errors import UserError
from prune.base.files import read_json, write_json
from prune.engine.job import Job
from prune.engine.restart import remember_facts
from prune.pruning.keepset import KeepSet
from prune.rundir.checkpoint import Progress, parse_tensors, resume_facts, save_state
from prune.rundir.dense import BEST, FINAL, PREDICTIONS, DenseState
from prune.rundir.manifest import describe_state
from prune.rundir.predictions import store_predictions
from prune.rundir.pretrained import other_weights
from prune.rundir.rewind import RewindPoints

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """What a run takes of a shared state: the tensors of its final and best model, predictions, its own rewind points."""

    final: dict[str, Tensor]
    best: dict[str, Tensor]
    predictions: bytes
    points: dict[str, dict[str, Tensor]]


def take(job: Job, found: DenseState) -> Taken | str:
    """Read all that the run needs, or say why it has none of it: a file, the images or the weights are not what they were."""
    if found.facts.get(job.directory.data.name) != read_json(job.directory.data):
        return "it was trained when the images were others"
    key = other_weights(job.config, found.facts.get(job.directory.weights.name))
    if key is not None:
        return f"it was trained when {key} held other weights"
    shared, points = found.directory, job.config.method.rewind_points
    try:
        return Taken(
            final=parse_tensors(found.read(shared.path / FINAL)),
            best=parse_tensors(found.read(shared.path / BEST)),
            predictions=found.read(shared.path / PREDICTIONS),
            points={point: parse_tensors(found.read(shared.rewind(point))) for point in points},
        )
    except UserError as error:  # removed or replaced since it was found
        return str(error).rstrip(".")


def adopt(job: Job, progress: Progress, found: DenseState, taken: Taken) -> None:
    """Write state 0's files, and have `progress` stand at the start of state 1. Saving it is the caller's.

    All is copied, under checksums of the run's own: the shared state is not needed again.
    """
    directory = job.directory
    kept = KeepSet.dense(job.architecture.structure).to_lists()
    budget = job.budgets[0]  # nothing is pruned, but which kinds there are is this run's to say
    line = {**found.line, "rate": budget.rate, "rates": budget.rates}

    if directory.weights.name in found.facts:
        write_json(directory.weights, found.facts[directory.weights.name])
    write_json(directory.dense, {"id": found.directory.path.name, "run": found.run, "sha256": found.sha256})
    job.digests.table.clear()  # of what this run may have begun to train itself
    progress.state, progress.epoch, progress.step = 1, 0, 0
    progress.threads, progress.alive, progress.model = found.threads, kept, taken.final
    progress.metrics, progress.states, progress.live, progress.run_memory = list(found.metrics), [line], None, None
    remember_facts(directory, progress)
    for point, tensors in taken.points.items():
        RewindPoints(job.digests).write(point, tensors)
    store_predictions(job.digests, 0, taken.predictions)
    about = describe_state(job.config, job.architecture, job.facts, directory.path.name, kept, line)
    save_state(job.digests, 0, taken.final, taken.best, {**about, "resume": resume_facts(progress)})
    log.info("state  0 is that of %s (%s): nothing was trained", found.run, found.directory.path)
