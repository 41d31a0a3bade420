"""The criterion of activations, against the definitions of attention and of an MLP."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from prune.base.registries import CRITERIA
from prune.pruning.criteria.base import Criterion
from prune.pruning.keepset import KeepSet
from tests.pruning.criteria.oracle import batches, check, places, scores


def block_inputs(model: VisionTransformer, images: Tensor) -> list[Tensor]:
    """What enters each block."""
    seen: list[Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for block in model.blocks]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return seen


@torch.no_grad()
def head_activation(model: VisionTransformer, x: Tensor, block: int, unit: int) -> float:
    """mean |softmax(q·kᵀ/√d)·v| of one head, from the definition of attention."""
    attn, x = model.blocks[block].attn, model.blocks[block].norm1(x)
    tensors = dict(model.named_parameters())
    rows = [index[0] for _, index in places(model, block, "heads", unit)["producer"]]
    made = x @ tensors[f"blocks.{block}.attn.qkv.weight"][rows].T + tensors[f"blocks.{block}.attn.qkv.bias"][rows]
    q, k, v = made.chunk(3, dim=-1)
    weights = torch.softmax(q @ k.transpose(1, 2) / attn.head_dim**0.5, dim=-1)
    return (weights @ v).abs().mean().item()


@torch.no_grad()
def neuron_activation(model: VisionTransformer, x: Tensor, block: int, unit: int) -> float:
    """mean |gelu(w·x + b)| of one neuron."""
    whole = model.blocks[block]
    x = x + whole.attn(whole.norm1(x))
    before = whole.norm2(x) @ whole.mlp.fc1.weight[unit] + whole.mlp.fc1.bias[unit]
    return F.gelu(before).abs().mean().item()


def test_activation(model: VisionTransformer, keep: KeepSet) -> None:
    data = batches()
    seen = [block_inputs(model, images) for images, _ in data]

    def expected(block: int, kind: str, unit: int) -> float:
        one = head_activation if kind == "heads" else neuron_activation
        return sum(one(model, inputs[block], block, unit) for inputs in seen) / len(seen)

    # The criterion adds up in float32, whatever the model computes in.
    check(scores("activation", model, data=data), keep, expected, (1e-6, 1e-9))


def test_activations_cannot_be_compared_between_kinds() -> None:
    assert not CRITERIA.load("activation").has_densities()  # refused while composing: tests/config/bad_input_table.py


def test_a_criterion_that_says_it_compares_kinds_must_say_how() -> None:
    class Silent(Criterion):
        def scores(self, scoring: object) -> dict[str, Tensor]:
            return {}

    assert Silent.compares_kinds and not Silent.has_densities()
    assert CRITERIA.load("magnitude").has_densities()
