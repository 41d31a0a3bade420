"""What unstructured pruning would leave, against a sorted list of all weights."""

from __future__ import annotations

import pytest
from timm.models.vision_transformer import VisionTransformer

from prune.pruning.keepset import KeepSet
from tests.architectures.vits import TINY
from tests.pruning.criteria.oracle import KINDS, MATRICES, group, numbers, scores

# Weights in the matrices of one unit, and of all units of the dense model.
PER_UNIT = {"heads": 4 * TINY.head_dim * TINY.embed_dim, "neurons": 2 * TINY.embed_dim}
OF_KIND = {
    "heads": TINY.depth * TINY.num_heads * PER_UNIT["heads"],
    "neurons": TINY.depth * TINY.mlp_hidden * PER_UNIT["neurons"],
}


def surviving(model: VisionTransformer, keep: KeepSet, survivors: int, kinds: tuple[str, ...]) -> set[float]:
    """The largest |w| of the alive units' matrices, so many of them or all there are."""
    listed = [
        abs(w)
        for kind in kinds
        for block in range(TINY.depth)
        for unit in range(len(keep[group(block, kind)]))
        for w in numbers(model, block, kind, unit, *MATRICES)
    ]
    return set(sorted(listed, reverse=True)[:survivors])


def check_remaining(
    model: VisionTransformer, keep: KeepSet, rate: float | dict[str, float], kinds: tuple[str, ...], survivors: int
) -> None:
    alive = surviving(model, keep, survivors, kinds)
    found, counted = scores("remaining", model, rate, kinds), scores("remaining_count", model, rate, kinds)
    for kind in kinds:
        for block in range(TINY.depth):
            name = group(block, kind)
            for unit in range(len(keep[name])):
                left = [abs(w) for w in numbers(model, block, kind, unit, *MATRICES) if abs(w) in alive]
                assert found[name][unit].item() == pytest.approx(sum(left), rel=1e-9)
                assert counted[name][unit].item() == len(left)
    total = sum(int(counted[group(block, kind)].sum()) for kind in kinds for block in range(TINY.depth))
    assert total == len(alive) > 0  # one threshold for all; random weights have no ties


@pytest.mark.parametrize("kinds", [KINDS, ("heads",), ("neurons",)])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_remaining(model: VisionTransformer, keep: KeepSet, rate: float, kinds: tuple[str, ...]) -> None:
    check_remaining(model, keep, rate, kinds, round((1 - rate) * sum(OF_KIND[kind] for kind in kinds)))


def test_kinds_of_different_rates_share_one_threshold(model: VisionTransformer, keep: KeepSet) -> None:
    """Each kind leaves its own share of its own weights; which ones, the common list says."""
    survivors = round(0.75 * OF_KIND["heads"]) + round(0.2 * OF_KIND["neurons"])
    check_remaining(model, keep, {"heads": 0.25, "neurons": 0.8}, KINDS, survivors)


def test_nothing_survives_a_rate_that_leaves_less_than_half_a_weight(model: VisionTransformer) -> None:
    for name in ("remaining", "remaining_count"):
        assert all((vector == 0).all() for vector in scores(name, model, rate=1 - 1e-6).values())
