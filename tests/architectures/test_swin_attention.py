"""A Swin's attention within windows as its view tells it, against what timm's own module makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.swin_transformer import window_partition
from torch.nn import functional as F

from prune.architectures.base import make_architecture
from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet

MODEL = {"family": "swin", "name": "custom", "patch_size": 1, "window_size": 4, "embed_dim": 12, "depths": [2, 2],
         "num_heads": [3, 6], "mlp_ratio": 1.5}  # fmt: skip


@pytest.mark.parametrize("size", [8, (8, 12), (6, 10)], ids=["square", "wide", "padded"])
def test_the_weights_are_those_by_which_timm_weighs_its_values(size: Any) -> None:
    architecture = make_architecture(MODEL, size, 2, 3)
    model = architecture.create().eval()
    views = architecture.attention(model)
    given: dict[str, Any] = {}
    for name in views:
        model.get_submodule(name).register_forward_hook(
            lambda _, inputs, keywords, out, name=name: given.update({name: (inputs, keywords, out)}), with_kwargs=True
        )
    height, width = (size, size) if isinstance(size, int) else size
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
        model(torch.randn(2, 2, height, width))
        for name, view in views.items():
            module, (inputs, keywords, out) = model.get_submodule(name), given[name]
            weights = view.weights(module, inputs, keywords)
            windows, tokens, dim = inputs[0].shape
            assert weights.shape == (windows, module.num_heads, tokens, tokens) and len(view.places) == tokens
            values = module.qkv(inputs[0]).reshape(windows, tokens, 3, module.num_heads, -1)[:, :, 2].transpose(1, 2)
            expected = module.proj((weights @ values).transpose(1, 2).reshape(windows, tokens, dim))
            torch.testing.assert_close(expected, out, atol=1e-5, rtol=1e-4)
            assert not view.whole_image


@pytest.mark.parametrize("size", [(8, 8), (8, 12), (6, 10)])
def test_a_picture_has_every_token_where_the_image_has_it(size: tuple[int, int]) -> None:
    """Numbers laid out on the map, shifted and cut into windows as timm does, come back in their places."""
    architecture = make_architecture(MODEL, size, 2, 3)
    model = architecture.create()
    for name, view in architecture.attention(model).items():
        block: Any = model.get_submodule(name.removesuffix(".attn"))
        rows, columns = view.grid  # type: ignore[attr-defined]
        whole = torch.arange(2.0 * rows * columns).view(2, rows, columns, 1)
        shifted = torch.roll(whole, [-step for step in block.shift_size], dims=(1, 2))
        below, right = -rows % block.window_size[0], -columns % block.window_size[1]
        padded = F.pad(shifted, (0, 0, 0, right, 0, below), value=-1)
        windows = window_partition(padded, block.window_size).flatten(1, 2).transpose(1, 2)
        assert torch.equal(view.picture(windows), whole.permute(0, 3, 1, 2)), name


def test_a_block_without_heads_has_no_weights() -> None:
    architecture = make_architecture(MODEL, 8, 2, 3)
    model, dense = architecture.create().eval(), KeepSet.dense(architecture.structure)
    compact(model, architecture, dense, KeepSet({**dense, "layers.0.blocks.0.attn": torch.tensor([], dtype=torch.int64)}))
    view = architecture.attention(model)["layers.0.blocks.0.attn"]
    module = model.get_submodule("layers.0.blocks.0.attn")
    assert view.weights(module, (torch.zeros(4, 16, 12),), {"mask": None}).shape == (4, 0, 16, 16)
