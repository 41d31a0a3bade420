"""A run takes its state 0 from a shared dense state. Its files are then those that it would have had by training itself."""

from __future__ import annotations

import logging

from prune.base.files import read_json, write_json
from prune.engine.job import Job
from prune.engine.restart import remember_facts
from prune.pruning.keepset import KeepSet
from prune.rundir.checkpoint import Progress, parse_tensors, resume_facts, save_state
from prune.rundir.dense import BEST, FINAL, PREDICTIONS, DenseState
from prune.rundir.manifest import describe_state
from prune.rundir.predictions import store_predictions
from prune.rundir.pretrained import same_weights
from prune.rundir.rewind import RewindPoints

log = logging.getLogger(__name__)


def why_not(job: Job, found: DenseState) -> str | None:
    """Why a state with the same configuration is another all the same: its images or pretrained weights were others."""
    if found.facts.get(job.directory.data.name) != read_json(job.directory.data):
        return "it was trained when the images were others"
    if not same_weights(job.config, found.facts.get(job.directory.weights.name)):
        return "it was trained when model.pretrained held other weights"
    return None


def adopt(job: Job, progress: Progress, found: DenseState) -> None:
    """Write state 0's files, and have `progress` stand at the start of state 1. Saving it is the caller's.

    All is copied, under checksums of the run's own: the shared state is not needed again.

    Raises:
        UserError: if a file of the shared state is not as it was written.
    """
    directory, shared = job.directory, found.directory
    final, best = (parse_tensors(found.read(shared.path / name)) for name in (FINAL, BEST))
    predictions = found.read(shared.path / PREDICTIONS)
    points = {point: parse_tensors(found.read(shared.rewind(point))) for point in job.config.method.rewind_points}
    kept = KeepSet.dense(job.architecture.structure).to_lists()
    budget = job.budgets[0]  # nothing is pruned, but which kinds there are is this run's to say
    line = {**found.line, "rate": budget.rate, "rates": budget.rates}

    if directory.weights.name in found.facts:
        write_json(directory.weights, found.facts[directory.weights.name])
    write_json(directory.dense, {"id": shared.path.name, "run": found.run, "sha256": found.sha256})
    job.digests.table.clear()  # of what this run may have begun to train itself
    progress.state, progress.epoch, progress.step = 1, 0, 0
    progress.threads, progress.alive, progress.model = found.threads, kept, final
    progress.metrics, progress.states, progress.live, progress.run_memory = list(found.metrics), [line], None, None
    remember_facts(directory, progress)
    for point, tensors in points.items():
        RewindPoints(job.digests).write(point, tensors)
    store_predictions(job.digests, 0, predictions)
    about = describe_state(job.config, job.architecture, job.facts, directory.path.name, kept, line)
    save_state(job.digests, 0, final, best, {**about, "resume": resume_facts(progress)})
    log.info("state  0 is that of %s (%s): nothing was trained", found.run, shared.path)
