"""Closed forms for parameters and multiply-accumulates, against counts on the model."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.utils.flop_counter import FlopCounterMode

from prune.pruning.compact import compact
from prune.architectures.shape import Parts, ViTShape
from prune.pruning.units import KeepSet
from tests.architectures.vits import MICRO, SMALL, TINY, build, keep_set, random_units

ODD = ViTShape((16, 24), 8, channels=1, classes=3, embed_dim=20, depth=2, num_heads=5, mlp_hidden=31)
SHAPES = [SMALL, MICRO, TINY, ODD]


def meta_model(shape: ViTShape) -> VisionTransformer:
    """The dense model without values: counting needs sizes only."""
    model = build(shape).to("meta")
    for block in model.blocks:
        block.attn.fused_attn = False  # the flop counter sees nothing of a fused kernel on the CPU
    return model


def counted_parameters(model: VisionTransformer) -> Parts:
    sums = {"attn": 0, "mlp": 0, "other": 0}
    for name, parameter in model.named_parameters():
        part = "attn" if ".attn." in name else "mlp" if ".mlp." in name else "other"
        sums[part] += parameter.numel()
    return Parts(sums["attn"], sums["mlp"], sums["other"])


def counted_macs(model: VisionTransformer, shape: ViTShape) -> Parts:
    """Half of torch's FLOPs of one image, by module: a multiply-accumulate is two floating-point operations."""
    counter = FlopCounterMode(display=False)
    with counter:
        model(torch.empty((1, shape.channels, *shape.image_size), device="meta"))
    flops = counter.get_flop_counts()
    by_part = {
        part: sum(sum(counts.values()) for name, counts in flops.items() if name.endswith(f".{part}"))
        for part in ("attn", "mlp")
    }
    total = counter.get_total_flops()
    assert total % 2 == by_part["attn"] % 2 == by_part["mlp"] % 2 == 0
    rest = total - by_part["attn"] - by_part["mlp"]
    return Parts(by_part["attn"] // 2, by_part["mlp"] // 2, rest // 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_dense_counts_are_those_of_the_model(shape: ViTShape) -> None:
    model = meta_model(shape)
    assert shape.parameters() == counted_parameters(model)
    assert shape.macs() == counted_macs(model, shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_compact_counts_are_those_of_the_model(shape: ViTShape, seed: int) -> None:
    keep = keep_set(random_units(shape, seed))
    model = build(shape)
    compact(model, KeepSet.dense(shape), keep)
    model = model.to("meta")
    for block in model.blocks:
        block.attn.fused_attn = False
    heads, neurons = keep.counts("heads"), keep.counts("neurons")
    assert shape.parameters(heads, neurons) == counted_parameters(model)
    assert shape.macs(heads, neurons) == counted_macs(model, shape)


def test_counts_of_blocks_without_heads_or_neurons() -> None:
    keep = KeepSet.from_lists([[], [0, 5], []], [[3], [], []])
    model = build(MICRO)
    compact(model, KeepSet.dense(MICRO), keep)
    heads, neurons = [0, 2, 0], [1, 0, 0]
    assert MICRO.parameters(heads, neurons) == counted_parameters(model)
    assert MICRO.macs(heads, neurons) == counted_macs(model.to("meta"), MICRO)


def test_vit_small_at_32_pixels() -> None:
    """The figures that the reference experiment should have printed."""
    parameters = SMALL.parameters()
    assert (parameters.attention, parameters.mlp, parameters.total) == (7_096_320, 14_178_816, 21_342_346)
    assert SMALL.macs().total == 1_420_309_248
    assert (SMALL.tokens, SMALL.heads, SMALL.neurons) == (65, 72, 18_432)
    assert (SMALL.head_parameters, SMALL.neuron_parameters) == (98_496, 769)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_unit_costs_its_parameters(shape: ViTShape) -> None:
    one_head_less = [shape.num_heads - 1] + [shape.num_heads] * (shape.depth - 1)
    one_neuron_less = [shape.mlp_hidden] * (shape.depth - 1) + [shape.mlp_hidden - 1]
    dense = shape.parameters().total
    assert dense - shape.parameters(heads=one_head_less).total == shape.head_parameters
    assert dense - shape.parameters(neurons=one_neuron_less).total == shape.neuron_parameters


def test_embeddings_and_classifier_do_not_depend_on_the_units() -> None:
    some = SMALL.parameters([1] * 12, [2] * 12)
    assert some.other == SMALL.parameters().other
    assert SMALL.macs([1] * 12, [2] * 12).other == SMALL.macs().other
