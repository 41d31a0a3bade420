"""The draws of an epoch: step by step what they always were, and on the device by one copy each."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from prune.base.seeding import derive
from prune.data.draws import BatchDraws, draw_batch, upload
from prune.data.options import Augment
from prune.data.recipe import NO_RECIPE, ErasingOptions, ImageRecipe, MixOptions, RandAugmentOptions

BOTH = Augment(crop_padding=4, flip=True)


ALL = ImageRecipe(
    mix=MixOptions(mixup=0.8, cutmix=1.0, prob=0.5), randaugment=RandAugmentOptions(ops=2), erasing=ErasingOptions(prob=0.5)
)


def epoch(steps: int = 5, recipe: ImageRecipe = NO_RECIPE) -> list[BatchDraws]:
    return [draw_batch(torch.arange(step, step + 8), BOTH, 3, (1, 2, step), recipe, (6, 8)) for step in range(steps)]


def test_a_step_draws_corners_then_mirrors_from_one_generator_of_its_own() -> None:
    [*_, last] = epoch()
    draw = torch.Generator().manual_seed(derive(3, "augment", 1, 2, 4))
    assert torch.equal(last.corners, torch.randint(0, 9, (2, 8), generator=draw))
    assert last.mirrored == torch.randint(2, (8,), generator=draw).sum()


def test_the_draws_are_those_that_results_were_made_with() -> None:
    """Numbers of the first release: whoever draws otherwise changes every augmented run."""
    first = draw_batch(torch.arange(6), BOTH, 0, (0, 0, 0))
    assert first.corners.tolist() == [[2, 5, 3, 2, 5, 0], [6, 3, 2, 7, 7, 2]]
    assert first.mirrored == 1
    assert draw_batch(torch.arange(6), Augment(crop_padding=4), 0, (0, 0, 0)).mirrored == 0


def test_a_recipe_leaves_the_other_draws_as_they_are() -> None:
    for plain, changed in zip(epoch(), epoch(recipe=ALL), strict=True):
        assert torch.equal(plain.corners, changed.corners) and plain.mirrored == changed.mirrored


def test_uploading_changes_nothing() -> None:
    drawn = epoch(recipe=ALL)
    for before, after in zip(drawn, upload(drawn, torch.device("cpu")), strict=True):
        for field in fields(before):
            one, other = getattr(before, field.name), getattr(after, field.name)
            assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    assert list(upload([], torch.device("cpu"))) == []


class Copies(TorchDispatchMode):
    """Counts copies to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        copied = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        self.count += copied and result.device != args[0].device
        return result


@pytest.mark.parametrize("steps", [1, 7])
def test_each_field_goes_up_once_an_epoch_those_of_a_recipe_too(steps: int) -> None:
    drawn = epoch(steps, ALL)
    with Copies() as copies:
        there = list(upload(drawn, torch.device("meta")))
    assert copies.count == len({"index", "corners", "order", "variants", "boxes", "partners"})
    assert len(there) == steps
    for draws in there:
        values = [getattr(draws, field.name) for field in fields(draws)]
        assert all(value.device.type == "meta" for value in values if isinstance(value, Tensor))
