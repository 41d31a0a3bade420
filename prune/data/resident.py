"""Images of a folder that live on the device: which do, whether they fit there, and where they come from."""

from __future__ import annotations

from pathlib import Path

import torch

from prune.base.errors import UserError
from prune.base.machine import memory_bytes
from prune.data.base import SPLITS, ArraySplit, DataFacts, Splits
from prune.data.cache import decoded_images, gigabytes
from prune.data.folder import ImageFolderOptions


def is_resident(options: ImageFolderOptions, splits: Splits, facts: DataFacts | None = None) -> bool:
    """Whether the images are to live on the device, which the data and the configuration say, and no machine.

    Args:
        facts: what the run found at its first start: a run that `auto` let begin one way goes on that way.
    """
    if options.resident != "auto":
        return options.resident
    if facts is not None:
        return facts.resident is True
    return options.augment.crop_scale == 1 and decoded_bytes(options, splits) <= options.resident_limit_gb * 1e9


def decoded_bytes(options: ImageFolderOptions, splits: Splits) -> int:
    """Of all images of all splits, as uint8 of the configured size."""
    height, width = options.size
    return sum(len(splits.of(name)) for name in SPLITS) * options.channels * height * width


def check_memory(options: ImageFolderOptions, splits: Splits, device: torch.device) -> None:
    """Before anything is decoded, and where the run is going to train.

    Raises:
        UserError: if the images do not fit into the memory of the device, or of this machine, which has them twice while
            training images are given their margins.
    """
    images, (height, width), margin = decoded_bytes(options, splits), options.size, 2 * options.augment.crop_padding
    padded = len(splits.train) * options.channels * (height + margin) * (width + margin)
    held = images - len(splits.train) * options.channels * height * width + padded
    places = [("this machine", images + padded, memory_bytes())]
    if device.type == "cuda":
        places.append((str(device), held, torch.cuda.get_device_properties(device).total_memory))
    for place, need, have in places:
        if need > have:
            raise UserError(
                f"dataset.resident={str(options.resident).lower()}: the decoded images take {gigabytes(images)} GB, for which "
                f"{gigabytes(need)} GB of memory are needed, and {place} has {gigabytes(have)} GB; set dataset.resident=false "
                "to stream them."
            )


def resident(options: ImageFolderOptions, splits: Splits, folder: Path) -> Splits:
    """The same splits with their images decoded, from the cache in `folder` (see `decoded_images`).

    Raises:
        UserError: naming an image that cannot be decoded, or the room that is missing.
    """
    paths = sorted({path for name in SPLITS for path in splits.of(name).paths})
    place = {path: number for number, path in enumerate(paths)}
    with decoded_images(paths, options, folder) as pixels:
        parts = {
            name: ArraySplit(pixels[[place[path] for path in splits.of(name).paths]], splits.of(name).labels) for name in SPLITS
        }
    return Splits(**parts, classes=splits.classes)
