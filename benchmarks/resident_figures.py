"""A folder of small JPEGs: streamed by workers in each epoch, or decoded once into a cache and kept on the device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.figure import Figure
from benchmarks.input_figure import drain
from benchmarks.scale import Scale
from benchmarks.timing import clock, quartiles, ratios, take_turns
from benchmarks.workbench import compose
from prune.config import RunConfig
from prune.data import cache, resident
from prune.data.folder import ImageFolder
from prune.data.loading import Loader
from prune.data.streaming import Stream
from prune.engine.loaders import load_data

CPU = torch.device("cpu")
WORKERS = 2


def resident_rate(scale: Scale, folder: Path) -> Figure:
    """Images/s of training batches, resident / streamed with 2 workers; 32-pixel JPEGs, cropped and mirrored."""
    loaders = {kind: _loader(scale, folder, kind) for kind in ("true", "false")}
    calls: dict[str, Callable[[], object]] = {
        kind: lambda loader=loader: drain(loader.training(0, 0, 0)) for kind, loader in loaders.items()
    }
    times = take_turns(calls, max(2, scale.rounds // 3))
    images = loaders["true"].steps_per_epoch * loaders["true"].batch_size
    for loader in loaders.values():
        loader.close()
    return Figure.of(
        "resident_rate",
        ratios(times["false"], times["true"]),
        20,
        False,
        images_per_second=images / quartiles(times["true"])[1],
        streamed_images_per_second=images / quartiles(times["false"])[1],
    )


def cache_build(scale: Scale, folder: Path) -> Figure:
    """Building the cache, its checksum included / decoding every image once with 2 workers."""
    config = _config(scale, folder, "true")
    dataset = ImageFolder(config.dataset)
    splits = dataset.load()
    rounds, seconds = [], []
    for number in range(max(2, scale.rounds // 3)):
        built = clock(lambda number=number: resident.resident(config.dataset, splits, folder / f"cache-{number}"))  # type: ignore[misc]
        rounds.append(built / clock(lambda: _decode(splits.train, config)))
        seconds.append(built)
    whole = sum(len(splits.of(name)) for name in ("train", "val", "test"))
    return Figure.of("cache_build", [r * len(splits.train) / whole for r in rounds], 1.2, True, seconds=quartiles(seconds)[1])


def _decode(split: object, config: RunConfig) -> None:
    stream = Stream(split, config.dataset, WORKERS, CPU)  # type: ignore[arg-type]
    size = cache.BATCH
    numbers = [(number, None) for number in range(len(split))]  # type: ignore[arg-type]
    try:
        drain(stream.read([numbers[at : at + size] for at in range(0, len(numbers), size)]))  # type: ignore[arg-type]
    finally:
        stream.close()


def _loader(scale: Scale, folder: Path, kind: str) -> Loader:
    loader, _ = load_data(_config(scale, folder, kind), folder / f"data-{kind}.json", CPU)
    return loader


def _config(scale: Scale, folder: Path, kind: str) -> RunConfig:
    """Of a folder of random JPEGs, made once: most of what a decoder does does not depend on what they show."""
    root = folder / "images"
    if not root.is_dir():
        _write(root, 10_000 if scale.many > 2 else 200)
    keys = ("dataset=image_folder", f"dataset.root={root}", "dataset.image_size=32", "dataset.augment.crop_padding=4")
    batch = ("optim.batch_size=128" if scale.many > 2 else "optim.batch_size=16", f"hardware.workers={WORKERS}", "hardware=cpu")
    return compose(folder, *keys, *scale.model, *batch, f"dataset.resident={kind}")


def _write(root: Path, count: int) -> None:
    draw = np.random.default_rng(0)
    for number in range(count + count // 10):
        place = root / ("train" if number < count else "test") / f"class-{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC).save(place / f"{number}.jpg", quality=90)
