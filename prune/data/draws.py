"""The random numbers of an epoch's training batches: drawn on the host step by step, sent to the device once an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from prune.base.seeding import generator
from prune.data.options import Augment


@dataclass(frozen=True)
class BatchDraws:
    """What is random about one training batch of b images, the whole batch of the run however many processes share it.

    Whatever else is to be drawn for a batch is a field here and a line in `draw_batch`: tensors then reach the device with the
    others, numbers stay on the host.

    Attributes:
        index: int64 (b), the training images.
        corners: int64 (2, b), top and left corner of each image's crop.
        mirrored: how many images, from the first on, are mirrored.
    """

    index: Tensor
    corners: Tensor
    mirrored: int


def draw_batch(index: Tensor, augment: Augment, seed: int, position: tuple[int, int, int]) -> BatchDraws:
    """The draws of one step, on the CPU. They derive from (seed, state, epoch, step), so an epoch can be entered anywhere.

    Mirrored are the first k images, k from Binomial(b, 1/2). As an epoch's images come in random order, that mirrors each with
    probability 1/2, independently of the others: given k, any k images are equally likely to be first. A run of images is
    mirrored in half the time of single ones.

    A draw that is added takes a generator of its own purpose: then those that were there before stay the same numbers.
    """
    of_images = generator(seed, "augment", *position)
    corners = torch.randint(0, 2 * augment.crop_padding + 1, (2, len(index)), generator=of_images)
    mirrored = int(torch.randint(2, (len(index),), generator=of_images).sum()) if augment.flip else 0
    return BatchDraws(index, corners, mirrored)


Draws = TypeVar("Draws", bound=BatchDraws)


def upload(batches: Sequence[Draws], device: torch.device) -> Iterator[Draws]:
    """The draws of each step with their tensors on the device: one copy of each field for all steps, nobody waits for it."""
    if not batches:
        return
    tensors = [field.name for field in fields(batches[0]) if isinstance(getattr(batches[0], field.name), Tensor)]
    there: dict[str, Any] = {name: _send(torch.stack([getattr(batch, name) for batch in batches]), device) for name in tensors}
    for step, batch in enumerate(batches):
        yield replace(batch, **{name: values[step] for name, values in there.items()})


def _send(values: Tensor, device: torch.device) -> Tensor:
    """A copy from pinned memory does not hold the host up; torch keeps that memory until the copy is done."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)
