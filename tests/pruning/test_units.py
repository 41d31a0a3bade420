"""Where each unit's tensors are: against indices written out one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.pruning.compact import compact
from prune.architectures.shape import ViTShape
from prune.pruning.units import KINDS, KeepSet, parts, unit_slices, without
from tests.architectures.vits import MICRO, TINY, build, cut, head_columns, head_rows, keep_set, others, placed, random_units


@pytest.mark.parametrize("shape", [MICRO, TINY])
@settings(derandomize=True, max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_slices_of_a_dense_model_are_the_units_rows_and_columns(shape: ViTShape, seed: int) -> None:
    chosen = random_units(shape, seed)
    found = {
        name: (part.dim, part.index.tolist())
        for name, part in unit_slices(KeepSet.dense(shape), keep_set(chosen), shape.head_dim)
    }
    assert found == {name: (dim, index) for name, dim, index in placed(shape, chosen)}


@settings(derandomize=True, max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_slices_of_a_compact_model_find_the_same_values(seed: int) -> None:
    """What is cut in two steps, dense → alive → chosen, is what is cut in one."""
    alive = random_units(MICRO, seed)
    second = random_units(MICRO, seed + 1)
    chosen = tuple(
        [sorted(set(a) & set(b)) for a, b in zip(have, want, strict=True)] for have, want in zip(alive, second, strict=True)
    )
    dense = {name: tensor.detach() for name, tensor in build(MICRO).named_parameters()}
    at_once, halfway = cut(dense, MICRO, chosen), cut(dense, MICRO, alive)  # type: ignore[arg-type]
    for name, part in unit_slices(keep_set(alive), keep_set(chosen), MICRO.head_dim):  # type: ignore[arg-type]
        assert torch.equal(part.of(halfway[name]), at_once[name])


def test_every_tensor_with_units_is_sliced_once() -> None:
    names = [name for name, _ in unit_slices(KeepSet.dense(MICRO), KeepSet.dense(MICRO), MICRO.head_dim)]
    wanted = {
        name
        for name, _ in build(MICRO).named_parameters()
        if name.endswith(("qkv.weight", "qkv.bias", "proj.weight", "fc1.weight", "fc1.bias", "fc2.weight"))
        and name.startswith("blocks")
    }
    assert len(names) == len(set(names)) == 6 * MICRO.depth
    assert set(names) == wanted


@pytest.mark.parametrize("shape", [MICRO, TINY])
def test_parts_of_each_unit_hold_its_weights(shape: ViTShape) -> None:
    model = build(shape)
    tensors = dict(model.named_parameters())
    for number, block in enumerate(model.blocks):
        qkv_weight, qkv_bias, proj = (part.tensor for part in parts(block, "heads"))
        for head in range(shape.num_heads):
            rows, columns = head_rows(shape, [head]), head_columns(shape, [head])
            assert torch.equal(qkv_weight[head].reshape(len(rows), -1), tensors[f"blocks.{number}.attn.qkv.weight"][rows])
            assert torch.equal(qkv_bias[head].flatten(), tensors[f"blocks.{number}.attn.qkv.bias"][rows])
            assert torch.equal(proj[head].T, tensors[f"blocks.{number}.attn.proj.weight"][:, columns])
        fc1_weight, fc1_bias, fc2 = (part.tensor for part in parts(block, "neurons"))
        assert torch.equal(fc1_weight, tensors[f"blocks.{number}.mlp.fc1.weight"])
        assert torch.equal(fc1_bias, tensors[f"blocks.{number}.mlp.fc1.bias"])
        assert torch.equal(fc2, tensors[f"blocks.{number}.mlp.fc2.weight"].T)
    flags = [[(part.producer, part.bias) for part in parts(model.blocks[0], kind)] for kind in KINDS]
    assert flags == [[(True, False), (True, True), (False, False)]] * 2


def test_parts_are_views() -> None:
    block = build(TINY).blocks[1]
    with torch.no_grad():
        for kind in KINDS:
            for part in parts(block, kind):
                part.tensor[1] = 7.0
    assert (block.attn.qkv.weight[head_rows(TINY, [1])] == 7).all()
    assert (block.attn.qkv.bias[head_rows(TINY, [1])] == 7).all()
    assert (block.attn.proj.weight[:, head_columns(TINY, [1])] == 7).all()
    assert (block.mlp.fc1.weight[1] == 7).all()
    assert block.mlp.fc1.bias[1] == 7
    assert (block.mlp.fc2.weight[:, 1] == 7).all()
    changed = sum(int((tensor == 7).sum()) for tensor in block.parameters())
    assert changed == TINY.head_parameters + TINY.neuron_parameters


def test_parts_add_up_to_the_parameters_of_one_unit_after_compaction() -> None:
    model = build(MICRO)
    compact(model, KeepSet.dense(MICRO), KeepSet.from_lists([[1, 4], [], [0]], [[5, 6, 7], [191], []]))
    for block, heads, neurons in zip(model.blocks, (2, 0, 1), (3, 1, 0), strict=True):
        assert sum(part.tensor.numel() for part in parts(block, "heads")) == heads * MICRO.head_parameters
        assert sum(part.tensor.numel() for part in parts(block, "neurons")) == neurons * MICRO.neuron_parameters


@settings(derandomize=True, max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_without_is_the_set_difference(seed: int) -> None:
    kept = random_units(MICRO, seed)
    heads, neurons = others(MICRO, kept)
    assert without(KeepSet.dense(MICRO), keep_set(kept)).to_lists() == {"heads": heads, "neurons": neurons}


def test_keep_sets_are_values() -> None:
    units = random_units(TINY, 3)
    one, other = keep_set(units), keep_set(units)
    assert one == other
    assert len({one, other, KeepSet.dense(TINY)}) == 2
    assert KeepSet.from_lists(**one.to_lists()) == one
    assert one.counts("heads") == [len(block) for block in units[0]]
    assert one.counts("neurons") == [len(block) for block in units[1]]
