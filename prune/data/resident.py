"""Images of a folder that fit on the device: decoded once, into a cache file where every run that needs them finds them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL
import torch
from rich.console import Console
from rich.progress import track

from prune.base.errors import UserError
from prune.base.files import read_json_object, sha256, write_atomically, write_json
from prune.base.machine import cpu_count, memory_bytes
from prune.data.base import SPLITS, ArraySplit, Dataset, FileSplit, Splits
from prune.data.folder import ImageFolderOptions
from prune.data.streaming import Key, Stream

log = logging.getLogger(__name__)

BATCH = 256
"""Images decoded at a time."""

WORKERS = 8
"""Processes that decode, where there are so many cores."""


def is_resident(options: ImageFolderOptions, splits: Splits) -> bool:
    """Whether the images are to live on the device, which the data and the configuration say, and no machine.

    Raises:
        UserError: for `dataset.resident=true` with images that are cropped before they are resized, or that do not fit into
            this machine's memory.
    """
    if options.resident == "auto":
        return options.augment.crop_scale == 1 and decoded_bytes(options, splits) <= options.resident_limit_gb * 1e9
    if options.resident:
        need, have = decoded_bytes(options, splits), memory_bytes()
        if need > have:
            raise UserError(
                f"dataset.resident=true: the decoded images take {_gb(need)} GB and this machine has {_gb(have)} GB of memory; "
                "set dataset.resident=false to stream them."
            )
    return options.resident is True


def decoded_bytes(options: ImageFolderOptions, splits: Splits) -> int:
    """Of all images of all splits, as uint8 of the configured size."""
    height, width = options.size
    return sum(len(splits.of(name)) for name in SPLITS) * options.channels * height * width


def resident(dataset: Dataset, splits: Splits, folder: Path) -> Splits:
    """The same splits with their images decoded, from the cache in `folder`, which is built if it is not there.

    A cache is known by what it was made of (the folder and the fingerprint of its content, the size, Pillow's version), so that
    a file that changes makes another, and by its checksum: a damaged one is built again. One process builds, others wait.

    Raises:
        UserError: naming an image that cannot be decoded, or the room that is missing.
    """
    options: ImageFolderOptions = dataset.options
    paths = sorted({path for name in SPLITS for path in splits.of(name).paths})
    about = {
        "root": os.path.realpath(options.root),
        "fingerprint": dataset.fingerprint(),
        "size": list(options.size),
        "channels": options.channels,
        "images": len(paths),
        "pillow": PIL.__version__,
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    file = folder / f"images-{key}.npy"
    with _alone(file):
        if not _holds(file, about):
            _build(file, FileSplit(paths, np.zeros(len(paths), dtype=np.int64)), options)
            write_json(_facts(file), {**about, "sha256": sha256(file)})
    pixels, place = np.load(file, mmap_mode="r"), {path: number for number, path in enumerate(paths)}
    parts = {
        name: ArraySplit(pixels[[place[path] for path in splits.of(name).paths]], splits.of(name).labels) for name in SPLITS
    }
    return Splits(**parts, classes=splits.classes)


def _holds(file: Path, about: dict[str, Any]) -> bool:
    """Whether the cache is there, of this content, as it was written."""
    stored = read_json_object(_facts(file))
    if not file.is_file() or {name: stored.get(name) for name in about} != about:
        return False
    if sha256(file) == stored.get("sha256"):
        return True
    log.warning("%s is damaged: its checksum is not that of its images; decoding them again", file)
    return False


def _build(file: Path, images: FileSplit, options: ImageFolderOptions) -> None:
    height, width = options.size
    shape = (len(images), options.channels, height, width)
    need, free = int(np.prod(shape)), shutil.disk_usage(file.parent).free
    if need > free:
        raise UserError(
            f"dataset.resident: the cache of decoded images takes {_gb(need)} GB and {file.parent} has {_gb(free)} GB left; "
            "make room, or set dataset.resident=false to stream them."
        )
    log.info("decoding %d images once, into %s (%s GB)", len(images), file, _gb(need))

    def write(out: IO[bytes]) -> None:
        np.lib.format.write_array_header_2_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        steps = -(-len(images) // BATCH)
        bar = Console(stderr=True)
        quiet = not sys.stderr.isatty()
        for batch in track(_decoded(images, options), "decoding", total=steps, console=bar, transient=True, disable=quiet):
            out.write(batch.tobytes())

    write_atomically(file, write)


def _decoded(images: FileSplit, options: ImageFolderOptions) -> Iterator[np.ndarray]:
    """All images in order, uint8 (at most `BATCH`, c, h, w) at a time; an epoch's worth of worker processes."""
    stream = Stream(images, options, min(WORKERS, cpu_count()), torch.device("cpu"))
    numbers: list[Key] = [(number, None) for number in range(len(images))]
    try:
        for batch, _ in stream.read([numbers[at : at + BATCH] for at in range(0, len(numbers), BATCH)]):
            yield batch.numpy()
    finally:
        stream.close()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold the lock of a cache: whoever comes second waits, and finds it built. The folder is made if it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _facts(file: Path) -> Path:
    return file.with_suffix(".json")


def _gb(count: float) -> str:
    return f"{count / 1e9:.3g}"
