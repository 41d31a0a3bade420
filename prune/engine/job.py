"""What a run needs and does not change: configuration, data, device, method. Built, and checked, before any training."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prune.architectures.base import Architecture
from prune.architectures.fast.allocator import keep_freed_memory
from prune.base.errors import UserError
from prune.base.registries import DATASETS, METHODS
from prune.config.describe import show
from prune.config.schema import RunConfig
from prune.data.base import ArraySplit, DataFacts, Splits
from prune.data.loading import Loader, ResidentLoader
from prune.data.statistics import data_facts
from prune.engine.device import choose_device
from prune.engine.method import Method
from prune.engine.state import PruningState
from prune.engine.stop import Stop
from prune.pruning.budget import StateBudget
from prune.pruning.keepset import KeepSet
from prune.rundir.directory import RunDirectory
from prune.rundir.pretrained import check_weights
from prune.rundir.rewind import RewindPoints

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Everything fixed about one run."""

    config: RunConfig
    directory: RunDirectory
    stop: Stop
    device: torch.device
    architecture: Architecture
    facts: DataFacts
    loader: Loader
    method: Method
    budgets: list[StateBudget]

    def state(self, index: int, model: nn.Module, alive: KeepSet) -> PruningState:
        """State `index` with a model and its units."""
        return PruningState(
            index,
            model,
            alive,
            config=self.config,
            architecture=self.architecture,
            budget=self.budgets[index],
            loader=self.loader,
            rewind_points=RewindPoints(self.directory),
            device=self.device,
        )


def prepare(config: RunConfig, directory: RunDirectory, stop: Stop, threads: int) -> Job:
    """Build the job.

    Args:
        threads: CPU threads to compute with; results depend on it.

    Raises:
        UserError: for a device that is not there, data that is missing or broken, or keys that do not fit the data.
    """
    device = choose_device(config.hardware.device)
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if config.optim.precision == "tf32" else "highest")
    dataset = DATASETS.load(config.dataset.name)(config.dataset)
    splits = dataset.load()
    facts = data_facts(directory.data, dataset, splits, config.hardware.workers)
    _check_data(config, splits, len(facts.classes))
    check_weights(config, directory)
    batch, seed = config.optim.batch_size, config.seed
    loader: Loader
    if isinstance(splits.train, ArraySplit):
        loader = ResidentLoader(splits, facts, batch, seed, device, config.dataset.augment)
    else:
        from prune.data.streaming import StreamingLoader

        options: Any = config.dataset
        loader = StreamingLoader(splits, facts, batch, seed, device, options, config.hardware.workers)
    method = METHODS.load(config.method.name)(config)
    method.prepare(loader.steps_per_epoch)
    sizes = " / ".join(str(len(splits.of(name))) for name in ("train", "val", "test"))
    log.info("data: %s, %s images (train / val / test), %d classes", config.dataset.name, sizes, len(facts.classes))
    architecture = config.architecture(len(facts.classes))
    log.info("device: %s, %d CPU threads, %s", device, threads, config.optim.precision)
    return Job(config, directory, stop, device, architecture, facts, loader, method, config.budgets())


def _check_data(config: RunConfig, splits: Splits, classes: int) -> None:
    """The data must be what the configuration says: the model is built from that."""
    dataset = config.dataset
    if dataset.classes not in (None, classes):
        raise UserError(f"dataset.classes={dataset.classes} but the data has {classes} classes.")
    for name in ("train", "val", "test"):
        split = splits.of(name)
        if not len(split):
            raise UserError(f"dataset.name={dataset.name}: the {name} split has no images; change dataset.val_fraction.")
        if isinstance(split, ArraySplit):
            channels, *size = split.images.shape[1:]
            if size != list(dataset.size):
                raise UserError(f"dataset.image_size={show(dataset.image_size)} but the images are {show(size)}.")
            if channels != dataset.channels:
                raise UserError(f"dataset.channels={dataset.channels} but the images have {channels}.")
