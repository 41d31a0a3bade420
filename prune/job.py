"""What a run needs and does not change: configuration, data, device, method. Built, and checked, before any training."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import torch

from prune.allocator import keep_freed_memory
from prune.budget import StateBudget, budgets
from prune.config.describe import show
from prune.config.schema import RunConfig
from prune.data import DATASETS
from prune.data.base import ArraySplit, DataFacts, Splits
from prune.data.loading import Loader, ResidentLoader
from prune.data.statistics import data_facts
from prune.errors import UserError
from prune.methods import METHODS
from prune.methods.base import Method
from prune.rundir import RunDirectory
from prune.shape import ViTShape
from prune.stop import Stop
from prune.weights import check_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Everything fixed about one run."""

    config: RunConfig
    directory: RunDirectory
    stop: Stop
    device: torch.device
    shape: ViTShape
    facts: DataFacts
    loader: Loader
    method: Method
    budgets: list[StateBudget]


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
    log.info("device: %s, %d CPU threads, %s", device, threads, config.optim.precision)
    return Job(config, directory, stop, device, config.shape(len(facts.classes)), facts, loader, method, budgets(config))


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


def choose_device(wanted: str) -> torch.device:
    """`auto`: CUDA if there is one, else the CPU; anything else must be there."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"hardware.device={wanted} is not there: this machine has {torch.cuda.device_count()} CUDA devices.")
    return device


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
