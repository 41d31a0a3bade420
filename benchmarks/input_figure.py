"""Input: augmented batches from the loader whose data is resident, beside a torchvision DataLoader with two workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure
from benchmarks.reference_data import loaders
from benchmarks.scale import Scale
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import make_job


def drain(batches: Iterable[Any]) -> None:
    deque(batches, maxlen=0)


def input_rate(scale: Scale, folder: Path) -> Figure:
    """Images/s of ours / of the DataLoader; the same uint8 images, cropped, flipped and normalised by both."""
    return rate("input_rate", 20, scale, folder)


def rate(name: str, limit: float, scale: Scale, folder: Path, *overrides: str) -> Figure:
    """Images/s of ours / of the DataLoader, both as configured."""
    steps = 512 if scale.many > 2 else 2  # most of a CIFAR epoch
    job = make_job(folder, scale, *overrides, steps=steps)
    training, _, _ = loaders(job.config)
    calls = {"ours": lambda: drain(job.loader.training(0, 0, 0)), "theirs": lambda: drain(training)}
    times = take_turns(calls, scale.rounds)
    images = steps * scale.batch_size
    return Figure.of(
        name,
        ratios(times["theirs"], times["ours"]),
        limit,
        False,
        images_per_second=images / quartiles(times["ours"])[1],
        dataloader_images_per_second=images / quartiles(times["theirs"])[1],
    )
