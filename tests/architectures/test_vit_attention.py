"""A ViT's attention as its view tells it, against what timm's own module makes of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from prune.architectures.base import make_architecture

SMALL = {"family": "vit", "name": "custom", "patch_size": 4, "depth": 2, "embed_dim": 12, "num_heads": 3, "mlp_ratio": 2.0}


@pytest.mark.parametrize(
    "more",
    [
        {"class_token": True, "global_pool": "token"},
        {"class_token": False, "global_pool": "avg"},
        {"class_token": True, "reg_tokens": 2, "qk_norm": True, "qkv_bias": False},
    ],
    ids=["class token", "patches alone", "registers, normalised queries"],
)
def test_the_weights_are_those_by_which_timm_weighs_its_values(more: dict[str, object]) -> None:
    architecture = make_architecture({**SMALL, **more}, (8, 12), 1, 3)
    model = architecture.create().eval()
    views = architecture.attention(model)
    assert list(views) == ["blocks.0.attn", "blocks.1.attn"]
    given: dict[str, Tensor] = {}
    for name in views:
        model.get_submodule(name).register_forward_hook(
            lambda _, inputs, out, name=name: given.update({name: inputs[0], f"{name}!": out})
        )
    with torch.no_grad():
        model(torch.randn(2, 1, 8, 12))
        for name, view in views.items():
            module = model.get_submodule(name)
            weights = view.weights(module, (given[name],), {})
            tokens = given[name].shape[1]
            assert len(view.places) == tokens and weights.shape == (2, 3, tokens, tokens)
            values = module.qkv(given[name]).reshape(2, tokens, 3, 3, 4)[:, :, 2].transpose(1, 2)
            out = module.proj((weights @ values).transpose(1, 2).reshape(2, tokens, 12))
            torch.testing.assert_close(out, given[f"{name}!"])


def test_patches_lie_where_their_pixels_are() -> None:
    architecture = make_architecture({**SMALL, "class_token": True, "global_pool": "token"}, (8, 12), 1, 3)
    view = architecture.attention(architecture.create())["blocks.0.attn"]
    assert view.places == (None, (2, 2), (2, 6), (2, 10), (6, 2), (6, 6), (6, 10))
    assert view.shown == 0 and view.whole_image
    assert view.picture(torch.arange(7.0).expand(1, 1, 7)).tolist() == [[[[1, 2, 3], [4, 5, 6]]]]


def test_a_class_token_is_shown_only_where_the_classifier_reads_it() -> None:
    architecture = make_architecture({**SMALL, "class_token": True, "reg_tokens": 1, "global_pool": "avg"}, 8, 1, 3)
    view = architecture.attention(architecture.create())["blocks.0.attn"]
    assert view.shown is None
    assert view.placed == [2, 3, 4, 5]
