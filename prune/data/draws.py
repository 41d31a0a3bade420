"""The random numbers of an epoch's training batches: drawn on the host step by step, sent to the device once an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from prune.base.seeding import generator
from prune.data.erasing import draw_boxes
from prune.data.mixing import Mix, draw_mix
from prune.data.operations import draw_operations
from prune.data.options import Augment
from prune.data.recipe import NO_RECIPE, ImageRecipe


@dataclass(frozen=True, kw_only=True)
class RecipeDraws:
    """What a recipe's random numbers make of one training batch of b images, whether they are resident or streamed.

    Attributes:
        boxes: int64 (b, 4), what is erased of each image (see `draw_boxes`); None: nothing is.
        partners: int64 (b), which images are mixed with each other; None: none ever are.
        mix: how this batch is mixed; None: not.
    """

    boxes: Tensor | None = None
    partners: Tensor | None = None
    mix: Mix | None = None


@dataclass(frozen=True, kw_only=True)
class BatchDraws(RecipeDraws):
    """What is random about one training batch of b images, the whole batch of the run however many processes share it.

    Whatever else is to be drawn for a batch is a field here and a line in `draw_batch`: tensors then reach the device with the
    others, numbers stay on the host.

    Attributes:
        index: int64 (b), the training images.
        corners: int64 (2, b), top and left corner of each image's crop.
        mirrored: how many images, from the first on, are mirrored.
        order, variants, counts: RandAugment's operations (see `draw_operations`); None without it.
    """

    index: Tensor
    corners: Tensor
    mirrored: int
    order: Tensor | None = None
    variants: Tensor | None = None
    counts: list[list[int]] | None = None


Position = tuple[int, int, int]
"""(state, epoch, step)."""


def draw_batch(
    index: Tensor,
    augment: Augment,
    seed: int,
    position: Position,
    recipe: ImageRecipe = NO_RECIPE,
    size: tuple[int, int] = (1, 1),
) -> BatchDraws:
    """The draws of one step, on the CPU. They derive from (seed, state, epoch, step), so an epoch can be entered anywhere.

    Mirrored are the first k images, k from Binomial(b, 1/2). As an epoch's images come in random order, that mirrors each with
    probability 1/2, independently of the others: given k, any k images are equally likely to be first. A run of images is
    mirrored in half the time of single ones.

    A draw that is added takes a generator of its own purpose: then those that were there before stay the same numbers.

    Args:
        size: height and width of the images, for the boxes of a recipe.
    """
    of_images = generator(seed, "augment", *position)
    corners = torch.randint(0, 2 * augment.crop_padding + 1, (2, len(index)), generator=of_images)
    mirrored = int(torch.randint(2, (len(index),), generator=of_images).sum()) if augment.flip else 0
    changes: dict[str, Any] = vars(draw_recipe(recipe, len(index), size, seed, position))
    if recipe.randaugment.on:
        drawn = draw_operations(recipe.randaugment.ops, len(index), generator(seed, "randaugment", *position))
        changes |= dict(zip(("order", "variants", "counts"), drawn, strict=True))
    return BatchDraws(index=index, corners=corners, mirrored=mirrored, **changes)


def draw_recipe(recipe: ImageRecipe, images: int, size: tuple[int, int], seed: int, position: Position) -> RecipeDraws:
    """The draws of one step for what is done to whole batches, streamed ones too."""
    boxes = partners = mix = None
    if recipe.erasing.on:
        boxes = draw_boxes(recipe.erasing.prob, images, size, generator(seed, "erasing", *position))
    if recipe.mix.on:
        partners, mix = draw_mix(recipe.mix, images, size, generator(seed, "mix", *position))
    return RecipeDraws(boxes=boxes, partners=partners, mix=mix)


Draws = TypeVar("Draws", bound=RecipeDraws)


def upload(batches: Sequence[Draws], device: torch.device) -> Iterator[Draws]:
    """The draws of each step with their tensors on the device: one copy of each field for all steps, nobody waits for it."""
    if not batches:
        return
    tensors = [field.name for field in fields(batches[0]) if isinstance(getattr(batches[0], field.name), Tensor)]
    there: dict[str, Any] = {name: send(torch.stack([getattr(batch, name) for batch in batches]), device) for name in tensors}
    for step, batch in enumerate(batches):
        yield replace(batch, **{name: values[step] for name, values in there.items()})


def send(values: Tensor, device: torch.device) -> Tensor:
    """A copy from pinned memory does not hold the host up; torch keeps that memory until the copy is done."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)
