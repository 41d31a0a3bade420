"""The control: seeded, uniform, blind."""

from __future__ import annotations

import torch

from prune.pruning.ranking import Scores
from tests.architectures.vits import TINY, Shape, build
from tests.pruning.criteria.oracle import densities, scores


def flat(found: Scores) -> torch.Tensor:
    return torch.cat(list(found.values()))


def test_random_is_seeded_and_uniform() -> None:
    model = build(TINY)
    first, again, other = (flat(scores("random", model, state=state)) for state in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    wide = Shape((4, 4), 4, channels=1, classes=2, embed_dim=4, depth=4, num_heads=2, mlp_hidden=1000)
    found = scores("random", build(wide), shape=wide)
    drawn = torch.cat([found[f"blocks.{block}.mlp"] for block in range(4)])
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert abs(drawn.mean() - 0.5) < 5 * (1 / 12 / 4000) ** 0.5  # five standard errors of a uniform mean
    assert len(drawn.unique()) > 3990


def test_scores_do_not_depend_on_the_weights() -> None:
    assert torch.equal(flat(scores("random", build(TINY, seed=0))), flat(scores("random", build(TINY, seed=1))))


def test_density_is_as_drawn() -> None:
    model = build(TINY)
    assert torch.equal(flat(scores("random", model)), flat(densities("random", model)))
