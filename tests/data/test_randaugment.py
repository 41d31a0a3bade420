"""A batch's RandAugment equals torchvision's, image by image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from prune.data.operations import SIGNED, UNSIGNED, VARIANTS, draw_operations
from prune.data.randaugment import BINS, RandAugment, strength
from prune.data.recipe import RandAugmentOptions

CPU = torch.device("cpu")


def by_torchvision(image: Tensor, variant: int, magnitude: int) -> Tensor:
    """What torchvision's RandAugment makes of one image once it has drawn that operation and direction."""
    theirs = v2.RandAugment(num_ops=1, magnitude=magnitude, num_magnitude_bins=BINS)
    name, sign = VARIANTS[variant]
    strengths, signed = theirs._AUGMENTATION_SPACE[name]
    table = strengths(BINS, *image.shape[-2:])
    by = 0.0 if table is None else float(table[magnitude]) * (sign if signed else 1)
    return theirs._apply_image_or_video_transform(image, name, by, interpolation=theirs.interpolation, fill=theirs._fill)


def draw(rounds: int, images: int, seed: int = 0) -> tuple[Tensor, Tensor, list[list[int]]]:
    return draw_operations(rounds, images, torch.Generator().manual_seed(seed))


def pictures(count: int, channels: int, size: tuple[int, int]) -> Tensor:
    """Images of full and of little contrast, of one colour, and of noise."""
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, channels, *size), generator=draws, dtype=torch.uint8)
    images[1::4] = images[1::4] // 4 + 60
    images[2::4] = torch.linspace(0, 255, size[1]).to(torch.uint8)
    images[3::4] = 77
    return images


@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize(("channels", "size"), [(3, (32, 32)), (3, (20, 28)), (1, (8, 8)), (3, (2, 3))])
def test_it_is_torchvisions_image_by_image(channels: int, size: tuple[int, int], magnitude: int) -> None:
    options = RandAugmentOptions(ops=2, magnitude=magnitude)
    images = pictures(8 * len(VARIANTS), channels, size)
    drawn = order, variants, counts = draw(2, len(images))
    assert all(all(row) for row in counts), "each variant happens to some image"
    expected = images.clone()
    for of_round in zip(order.tolist(), variants.tolist(), strict=True):
        for image, variant in zip(*of_round, strict=True):
            expected[image] = by_torchvision(expected[image], variant, magnitude)
    assert torch.equal(RandAugment(options, size, CPU)(images, *drawn), expected)


@pytest.mark.parametrize("name", [*SIGNED, *UNSIGNED])
@pytest.mark.parametrize("magnitude", [0, 7, 15, 30])
def test_strengths_are_torchvisions(name: str, magnitude: int) -> None:
    table = v2.RandAugment._AUGMENTATION_SPACE[name][0](BINS, 20, 28)
    assert strength(name, magnitude, (20, 28)) == (0.0 if table is None else float(table[magnitude]))


def test_the_operations_are_torchvisions() -> None:
    space = v2.RandAugment._AUGMENTATION_SPACE
    assert {name for name, (_, signed) in space.items() if signed} == set(SIGNED)
    assert {name for name, (_, signed) in space.items() if not signed} == set(UNSIGNED)
