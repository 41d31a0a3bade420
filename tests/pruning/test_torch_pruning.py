"""Compaction against another library: torch-pruning finds the coupled tensors itself, by tracing the model's graph."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_pruning as tp
from timm.models.vision_transformer import VisionTransformer

from prune.pruning.compact import compact
from prune.architectures.shape import ViTShape
from prune.pruning.units import KeepSet
from tests.architectures.vits import MICRO, SMALL, TINY, Units, batch, build, head_columns, keep_set, others, random_units

# It says what it would do with the embeddings, which no unit touches.
pytestmark = pytest.mark.filterwarnings("ignore:Unwrapped parameters detected:UserWarning")


def prune_with_torch_pruning(model: VisionTransformer, shape: ViTShape, units: tuple[Units, Units]) -> None:
    """Tell it the columns of proj and the neurons of fc1 to remove; it works out q, k, v and fc2 from the graph."""
    for block in model.blocks:
        block.attn.fused_attn = False  # the tracer does not see through the fused kernel
    for block, heads, neurons in zip(model.blocks, *others(shape, units), strict=True):
        graph = tp.DependencyGraph().build_dependency(model, example_inputs=batch(shape, 1)[0])
        if heads:
            columns = head_columns(shape, heads)
            graph.get_pruning_group(block.attn.proj, tp.prune_linear_in_channels, idxs=columns).prune()
            block.attn.num_heads = shape.num_heads - len(heads)
            block.attn.attn_dim = block.attn.num_heads * shape.head_dim
        if neurons:
            graph.get_pruning_group(block.mlp.fc1, tp.prune_linear_out_channels, idxs=neurons).prune()


@pytest.mark.parametrize(("shape", "seed"), [(MICRO, 0), (MICRO, 1), (TINY, 2), (SMALL, 0)])
def test_the_same_units_give_the_same_model(shape: ViTShape, seed: int) -> None:
    if shape is SMALL:  # twelve blocks are slow to trace and show nothing that four do not
        shape = ViTShape((32, 32), 4, channels=3, classes=10, embed_dim=384, depth=4, num_heads=6, mlp_hidden=1536)
    ours, theirs = build(shape), build(shape)
    units = random_units(shape, seed)
    compact(ours, KeepSet.dense(shape), keep_set(units))
    prune_with_torch_pruning(theirs, shape, units)

    left, right = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name

    images = batch(shape, 4)[0]
    with torch.no_grad():
        expected, found = theirs(images), ours(images)
    # Fused and unfused attention add in another order: a few float32 roundings of the logits' scale.
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert not torch.allclose(found, copy.deepcopy(build(shape))(images).detach(), rtol=1e-2)  # something was removed
