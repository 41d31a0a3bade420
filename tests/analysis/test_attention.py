"""Distances, entropies and rollout against loops, and heads whose habit is known: one that looks at all tokens alike."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prune.analysis import attention
from prune.analysis.attention import Attention, attending, distances, entropies, pictures, rollout, spans
from prune.architectures.attention import AttentionView
from prune.pruning.slices import by_unit
from tests.analysis.subjects import architecture_of, pixels_of, random_images, subject

ATTENDING = ("vit", "swin")


def weights_of(looked_at: Any, model: nn.Module) -> dict[str, Tensor]:
    """Group → weights of all images at once."""
    found: dict[str, Tensor] = {}
    images, _ = pixels_of(looked_at.images)
    views = looked_at.architecture.attention(model)
    with torch.no_grad(), attending(model, views, lambda group, _, weights: found.update({group: weights})):
        model(images)
    return found


@pytest.mark.parametrize("family", ATTENDING)
def test_distance_and_entropy_are_those_of_each_query_one_by_one(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BATCH", 2)
    looked_at = subject(family, random_images(4))
    model = looked_at.now.model
    views = looked_at.architecture.attention(model)
    found = spans(looked_at, model, views)
    for group, weights in weights_of(looked_at, model).items():
        places = views[group].places
        there = [number for number, place in enumerate(places) if place is not None]
        for head in range(weights.shape[1]):
            far, wide = [], []
            for sample in weights[:, head].double().tolist():
                wide += [-sum(w * math.log(w) for w in row if w > 0) for row in sample]
                for i in there:
                    mass = sum(sample[i][j] for j in there)
                    far.append(sum(sample[i][j] * math.dist(places[i], places[j]) for j in there) / mass)  # type: ignore[arg-type]
            assert found[group][0][head] == pytest.approx(np.mean(far), rel=1e-5)
            assert found[group][1][head] == pytest.approx(np.mean(wide), rel=1e-5)


def test_a_head_that_has_no_queries_looks_at_all_tokens_alike() -> None:
    """Head 0 of every block: its queries are zero, so each of the 5 tokens gets a fifth."""

    def edit(model: nn.Module) -> None:
        for group in architecture_of("vit").structure.of("heads"):
            for member in group.members[:2]:  # qkv's weight and bias
                by_unit(model.get_parameter(member.tensor), member)[0, 0] = 0

    found = Attention().measure(subject("vit", edit=edit))
    corners = [(2, 2), (2, 6), (6, 2), (6, 6)]
    apart = np.mean([math.dist(a, b) for a in corners for b in corners])
    for group in architecture_of("vit").structure.of("heads"):
        assert found[f"entropy.dense/{group.name}"][0] == pytest.approx(math.log(5), rel=1e-6)
        assert found[f"distance.dense/{group.name}"][0] == pytest.approx(apart, rel=1e-6)
        assert found[f"entropy.dense/{group.name}"][1] < math.log(5) - 1e-4
        np.testing.assert_allclose(found[f"maps.dense/{group.name}"][:, 0], 0.2, rtol=1e-6)


def test_a_head_that_looks_at_itself_has_no_distance_and_no_entropy() -> None:
    class Line(AttentionView):
        def weights(self, *_: Any) -> Tensor:
            raise NotImplementedError

        def picture(self, values: Tensor) -> Tensor:
            return values

    view = Line((None, (0, 0), (0, 3), (4, 0)), None, True)
    itself = torch.eye(4).view(1, 1, 4, 4)
    assert distances(itself, view).tolist() == [[[0, 0, 0]]]
    assert entropies(itself).tolist() == [[[0, 0, 0, 0]]]
    next_one = torch.zeros(1, 1, 4, 4)
    next_one[0, 0, 1, 2] = next_one[0, 0, 2, 3] = next_one[0, 0, 3, 1] = next_one[0, 0, 0, 0] = 1
    assert distances(next_one, view).tolist() == [[[3, 5, 4]]]


def test_rollout_is_the_sum_over_all_paths() -> None:
    draw = torch.Generator().manual_seed(0)
    blocks = [torch.rand((1, 3, 3), generator=draw).softmax(-1) for _ in range(3)]
    found = rollout(blocks)
    for start in range(3):
        for end in range(3):
            total = 0.0
            for a in range(3):
                for b in range(3):
                    steps = ((blocks[2], start, a), (blocks[1], a, b), (blocks[0], b, end))
                    total += math.prod((w[0, i, j].item() + (i == j)) / 2 for w, i, j in steps)
            assert found[0, start, end].item() == pytest.approx(total, rel=1e-5)


def test_rollout_of_blocks_that_lost_all_heads_hands_everything_on() -> None:
    looked_at = subject(
        "vit", choose=lambda keep: type(keep)({name: units[:0] if "attn" in name else units for name, units in keep.items()})
    )
    found = Attention().measure(looked_at)
    assert found["rollout.now"].max() == 0  # the class token has only itself
    assert found["maps.now/blocks.0.attn"].shape[1] == 0


def test_without_a_token_that_is_read_it_is_the_mean_over_those_that_have_a_place() -> None:
    """A ViT of three blocks whose classifier reads the mean of the patches, tokens 1 to 4 of 5."""
    looked_at = subject("vit")
    model = looked_at.dense.model
    views = {group: replace(view, shown=None) for group, view in looked_at.architecture.attention(model).items()}
    images, _ = pixels_of(looked_at.images)
    maps, followed = pictures(model, views, images)
    assert followed is not None
    through = np.eye(5)[None]
    for group, weights in weights_of(looked_at, model).items():
        np.testing.assert_allclose(maps[group].reshape(*weights.shape[:2], 4), weights[:, :, 1:].mean(2)[..., 1:], rtol=1e-5)
        through = (weights.mean(1).numpy() + np.eye(5)) / 2 @ through
    np.testing.assert_allclose(followed.reshape(-1, 4), through[:, 1:].mean(1)[:, 1:], rtol=1e-5)


def test_windows_have_no_rollout() -> None:
    found = Attention().measure(subject("swin"))
    assert "rollout.dense" not in found
    assert found["maps.dense/layers.0.blocks.1.attn"].shape == (4, 3, 8, 8)


def test_a_mamba_says_that_it_has_none() -> None:
    assert "A Vision Mamba has none" in (Attention().refuses(subject("mamba")) or "")
    assert Attention().refuses(subject("vit")) is None
