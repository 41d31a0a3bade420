"""The data of a configuration, checked against it, as batches on the device."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prune.base.errors import UserError
from prune.base.registries import DATASETS
from prune.config.describe import show
from prune.config.schema import RunConfig
from prune.data.base import ArraySplit, DataFacts, FileSplit, Splits
from prune.data.loading import Loader, ResidentLoader
from prune.data.statistics import known_facts, new_facts
from prune.rundir.directory import cache_folder

log = logging.getLogger(__name__)


def load_data(config: RunConfig, facts_file: Path, device: torch.device) -> tuple[Loader, DataFacts]:
    """The loader and what is known of the data, which is stored in `facts_file` or must agree with what is stored there.

    Raises:
        UserError: for data that is missing or broken, has changed, or does not fit the keys.
    """
    dataset = DATASETS.load(config.dataset.name)(config.dataset)
    splits = dataset.load()
    _check_data(config, splits)
    facts = known_facts(facts_file, dataset, splits)
    on_device = None
    if isinstance(splits.train, FileSplit):
        from prune.data.resident import check_memory, is_resident, resident

        on_device = is_resident(dataset.options, splits, facts)
        if on_device:
            check_memory(dataset.options, splits, device)
            splits = resident(dataset.options, splits, _cache(config, facts_file))
    if facts is None:
        facts = new_facts(facts_file, dataset, splits, config.hardware.workers, on_device)
    batch, seed = config.optim.batch_size, config.seed
    sizes = " / ".join(str(len(splits.of(name))) for name in ("train", "val", "test"))
    where = "resident" if isinstance(splits.train, ArraySplit) else "streamed"
    log.info("data: %s, %s images (train / val / test), %d classes, %s", config.dataset.name, sizes, len(facts.classes), where)
    if isinstance(splits.train, ArraySplit):
        return ResidentLoader(splits, facts, batch, seed, device, config.dataset.augment, config.recipe), facts
    from prune.data.streaming import StreamingLoader

    options: Any = config.dataset
    return StreamingLoader(splits, facts, batch, seed, device, options, config.hardware.workers, config.recipe), facts


def _cache(config: RunConfig, facts_file: Path) -> Path:
    """Where decoded images are: below `outputs`; for a run that was brought here from elsewhere, beside it."""
    brought = facts_file.is_file() and not Path(config.outputs).is_dir()
    return cache_folder(str(facts_file.parent.parent) if brought else config.outputs)


def _check_data(config: RunConfig, splits: Splits) -> None:
    """The data must be what the configuration says, since the model is built from that; and what `Splits` says."""
    dataset, classes = config.dataset, len(splits.classes)
    if dataset.classes not in (None, classes):
        raise UserError(f"dataset.classes={dataset.classes} but the data has {classes} classes.")
    for name in ("train", "val", "test"):
        split = splits.of(name)
        if not len(split):
            raise UserError(f"dataset.name={dataset.name}: the {name} split has no images; change dataset.val_fraction.")
        labels = split.labels
        if labels.dtype != np.int64 or labels.min() < 0 or labels.max() >= classes:
            raise UserError(
                f"dataset.name={dataset.name}: labels of the {name} split must be int64 and from 0 to {classes - 1}, and are "
                f"{labels.dtype} and from {labels.min()} to {labels.max()}."
            )
        if isinstance(split, ArraySplit):
            if split.images.dtype != np.uint8 or len(split.images) != len(labels):
                raise UserError(
                    f"dataset.name={dataset.name}: images of the {name} split must be uint8 and as many as its {len(labels)} "
                    f"labels, and are {split.images.dtype} and {len(split.images)}."
                )
            channels, *size = split.images.shape[1:]
            if size != list(dataset.size):
                raise UserError(f"dataset.image_size={show(dataset.image_size)} but the images are {show(size)}.")
            if channels != dataset.channels:
                raise UserError(f"dataset.channels={dataset.channels} but the images have {channels}.")
