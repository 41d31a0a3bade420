"""Every operation and direction of RandAugment is drawn as often as any other, and a draw says what happens to which image."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from prune.data.operations import SIGNED, VARIANTS, draw_operations


def draw(rounds: int, images: int, seed: int = 0) -> tuple[Tensor, Tensor, list[list[int]]]:
    return draw_operations(rounds, images, torch.Generator().manual_seed(seed))


def test_each_operation_and_each_direction_is_equally_likely() -> None:
    total = 140_000
    _, _, drawn = draw(1, total)
    counts = dict(zip(VARIANTS, drawn[0], strict=True))
    assert sum(counts.values()) == total
    for (name, _), count in counts.items():
        share = 1 / 14 / (2 if name in SIGNED else 1)
        assert abs(count / total - share) < 5 * (share / total) ** 0.5, name  # five standard deviations


def test_a_draw_sorts_the_images_by_what_happens_to_them() -> None:
    for order, variants, counts in zip(*draw(3, 64), strict=True):
        assert sorted(order.tolist()) == list(range(64)) and variants.tolist() == sorted(variants.tolist())
        assert Counter(variants.tolist()) == {place: count for place, count in enumerate(counts) if count}


def test_equal_generators_draw_the_same() -> None:
    one, two = (draw(2, 16, seed=5) for _ in range(2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]) and one[2] == two[2]
