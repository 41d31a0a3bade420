"""What a run needs and does not change: configuration, data, device, method. Built, and checked, before any training."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prune.architectures.base import Architecture
from prune.architectures.fast.allocator import keep_freed_memory
from prune.base.registries import METHODS
from prune.config.schema import RunConfig
from prune.data.base import DataFacts
from prune.data.loading import Loader
from prune.engine.device import use_device
from prune.engine.loaders import load_data
from prune.engine.method import Method
from prune.engine.sharing import Sharing
from prune.engine.state import PruningState
from prune.engine.stop import Stop
from prune.engine.teacher import Teachers
from prune.pruning.budget import StateBudget
from prune.pruning.keepset import KeepSet
from prune.rundir.counts import budgets_of
from prune.rundir.digests import Digests
from prune.rundir.directory import RunDirectory
from prune.rundir.pretrained import check_weights
from prune.rundir.rewind import RewindPoints

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Everything fixed about one run."""

    config: RunConfig
    directory: RunDirectory
    digests: Digests
    stop: Stop
    device: torch.device
    architecture: Architecture
    facts: DataFacts
    loader: Loader
    method: Method
    teachers: Teachers
    budgets: list[StateBudget]
    sharing: Sharing

    def state(self, index: int, model: nn.Module, alive: KeepSet, forward: Any = None) -> PruningState:
        """State `index` with a model, its units and, if it was compiled already, the compiled model."""
        state = PruningState(
            index,
            model,
            alive,
            config=self.config,
            architecture=self.architecture,
            budget=self.budgets[index],
            loader=self.loader,
            rewind_points=RewindPoints(self.digests),
            device=self.device,
            teacher=self.teachers.of(index),
            forward=forward,
        )
        state.check_stop = self.stop.check
        return state


def prepare(
    config: RunConfig,
    directory: RunDirectory,
    stop: Stop,
    threads: int,
    files: dict[str, str] | None = None,
    sharing: Sharing | None = None,
) -> Job:
    """Build the job.

    Args:
        threads: CPU threads to compute with; results depend on it.
        files: the digests of what the run has written so far, to which the job adds (see `Digests`).
        sharing: the run's part in the sweep's shared dense state, if it has one.

    Raises:
        UserError: for a device that is not there, data that is missing or broken, or keys that do not fit the data.
    """
    device = use_device(config)
    keep_freed_memory()
    torch.set_num_threads(threads)
    loader, facts = load_data(config, directory.data, device)
    check_weights(config, directory)
    method = METHODS.load(config.method.name)(config, config.method)
    method.prepare(loader.steps_per_epoch)
    architecture = config.architecture(len(facts.classes))
    log.info("device: %s, %d CPU threads, %s", device, threads, config.optim.precision)
    budgets = budgets_of(config, directory, architecture.structure, verify=True)
    digests = Digests(directory, {} if files is None else files)
    teachers = Teachers(config, directory, facts, device)
    fixed = (config, directory, digests, stop, device, architecture, facts, loader, method, teachers, budgets)
    return Job(*fixed, sharing or Sharing())
