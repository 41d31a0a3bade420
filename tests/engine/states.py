"""Real states of real runs, before their first step."""

from __future__ import annotations

from pathlib import Path

from prune.architectures.build import build_model
from prune.config import RunConfig
from prune.engine.job import Job, prepare
from prune.engine.state import PruningState
from prune.engine.stop import Stop
from prune.pruning.keepset import KeepSet
from prune.rundir.directory import RunDirectory


def first_state(config: RunConfig, folder: Path) -> tuple[Job, PruningState]:
    """A run's job, and its dense state 0 with the initial weights; the run's files go to `folder`."""
    job = prepare(config, RunDirectory(folder), Stop(), threads=1)
    model = build_model(job.architecture, config.seed)
    return job, job.state(0, model, KeepSet.dense(job.architecture.structure))
