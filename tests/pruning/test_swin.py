"""Swins: the compact model against timm's own, whose pruned units are silenced by hooks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor
from torch.nn import functional as F

from prune.architectures.build import restore_model
from prune.architectures.fast.swap import FastPaths
from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet
from prune.pruning.verify import verify
from tests.architectures.swins import (
    PADDED,
    SHIFTED,
    SMALL_MAPS,
    Shape,
    Units,
    batch,
    build,
    cut,
    placed,
    random_units,
    silence,
)

SHAPES = {"shifted": SHIFTED, "padded": PADDED, "small maps": SMALL_MAPS}
DOUBLE = 1e-9
"""In float64 nothing but re-association is left, grown over twenty steps; a wrong index gives differences of order 1."""

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def keep_none(shape: Shape) -> Units:
    return {name: [] for name in shape.dense}


def pair(shape: Shape, units: Units, dtype: torch.dtype = torch.float64) -> tuple[SwinTransformer, SwinTransformer]:
    """(compact, silenced) models of the same dense one."""
    full = build(shape, dtype)
    small = copy.deepcopy(full)
    compact(small, shape.architecture, KeepSet.from_lists(shape.dense), KeepSet.from_lists(units))
    silence(full, shape, units)
    return small, full


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], scale: float = 1e-12) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.shape == expected[name].shape, name
        if value.numel():
            largest = max(float(expected[name].abs().max()), scale)
            assert float((value - expected[name]).abs().max()) <= DOUBLE * largest, name


def values(model: SwinTransformer) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@shapes
def test_swins_are_described_rightly(shape: Shape) -> None:
    assert verify(shape.architecture) == []


@shapes
@settings(derandomize=True, max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_logits_and_gradients_agree(shape: Shape, seed: int) -> None:
    units = random_units(shape, seed)
    models, (images, labels) = pair(shape, units), batch(shape, 3, dtype=torch.float64)
    logits = [model(images) for model in models]
    assert (logits[0] - logits[1]).abs().max() <= DOUBLE * logits[1].abs().max()
    found, expected = (_gradients(model, output, labels) for model, output in zip(models, logits, strict=True))
    # A gradient that is zero but for rounding (that of k's biases) is judged by a real one's size.
    assert_close(found, cut(expected, shape, units), scale=float(expected["head.fc.weight"].abs().max()))


def _gradients(model: SwinTransformer, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    F.cross_entropy(logits, labels).backward()
    # Weights of an empty branch are not reached at all.
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}


@shapes
def test_float32_logits_agree_also_without_any_unit(shape: Shape) -> None:
    for units in (keep_none(shape), random_units(shape, 4), shape.dense):
        small, full = pair(shape, units, torch.float32)
        images = batch(shape, 4)[0]
        with torch.no_grad():
            found, expected = small(images), full(images)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()  # design.md: of the logits' scale


OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-2),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-2),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize(("shape", "seed"), [(SHIFTED, 0), (PADDED, 1)])
def test_twenty_steps_agree(shape: Shape, seed: int, optimiser: str) -> None:
    """With the fast paths, as a run trains it. Weights of silenced units decay by themselves; nothing reads them."""
    units = random_units(shape, seed)
    small, full = pair(shape, units)
    before = values(small)
    _train(small, shape, OPTIMISERS[optimiser], FastPaths(shape.architecture.fast_paths(small, "cpu")))
    _train(full, shape, OPTIMISERS[optimiser], FastPaths([]))
    assert_close(values(small), cut(values(full), shape, units))
    assert max(float((tensor - before[name]).abs().max()) for name, tensor in values(small).items() if tensor.numel()) > 1e-2


def _train(model: SwinTransformer, shape: Shape, make: Callable[[Any], torch.optim.Optimizer], fast: FastPaths) -> None:
    optimizer = make(model.train().parameters())
    for step in range(20):
        images, labels = batch(shape, 4, seed=100 + step, dtype=torch.float64)
        optimizer.zero_grad()
        with fast.installed():
            F.cross_entropy(model(images), labels).backward()
        optimizer.step()


def test_fast_paths_give_the_bits_of_timm() -> None:
    model, (images, labels) = build(SHIFTED).train(), batch(SHIFTED, 4)
    plain = copy.deepcopy(model)
    paths = SHIFTED.architecture.fast_paths(model, "cpu")
    assert len(paths) == 4  # the MLPs
    with FastPaths(paths).installed():
        found = _gradients(model, model(images), labels)
    expected = _gradients(plain, plain(images), labels)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@shapes
def test_the_compact_model_is_cut_out_of_the_dense_one_and_comes_back(shape: Shape) -> None:
    units = random_units(shape, 2)
    small, _ = pair(shape, units, torch.float32)
    expected = cut(dict(build(shape).state_dict()), shape, units)
    found = dict(small.state_dict())
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    # Rebuilt from its tensors: tables of positions and masks of shifted windows are in no checkpoint.
    counts = {name: len(kept) for name, kept in units.items()}
    restored = restore_model(shape.architecture, counts, found, torch.device("cpu")).eval()
    assert not any(buffer.is_meta for buffer in restored.buffers())
    images = batch(shape, 2)[0]
    assert torch.equal(restored(images), small(images))


@pytest.mark.parametrize(("shape", "seed"), [(SHIFTED, 3), (PADDED, 0)])
def test_torch_pruning_makes_the_same_layers(shape: Shape, seed: int) -> None:
    """It finds q, k, v and fc2 by tracing; the tables' columns, which it takes for lanes, are cut here."""
    units = random_units(shape, seed, empty=False)
    ours, theirs = build(shape), build(shape)
    compact(ours, shape.architecture, KeepSet.from_lists(shape.dense), KeepSet.from_lists(units))
    for name, dim, heads, neurons in shape.blocks:
        block: Any = theirs.get_submodule(name)
        kept, width = units[f"{name}.attn"], dim // heads
        columns = [head * width + lane for head in range(heads) if head not in kept for lane in range(width)]
        tables = [p for name, p in theirs.named_parameters() if name.endswith("relative_position_bias_table")]
        graph = tp.DependencyGraph().build_dependency(theirs, example_inputs=batch(shape, 1)[0], ignored_params=tables)
        if columns:
            graph.get_pruning_group(block.attn.proj, tp.prune_linear_in_channels, idxs=columns).prune()
            block.attn.num_heads = len(kept)
            table = block.attn.relative_position_bias_table
            block.attn.relative_position_bias_table = torch.nn.Parameter(table.detach()[:, kept])
        gone = [neuron for neuron in range(neurons) if neuron not in units[f"{name}.mlp"]]
        if gone:
            graph.get_pruning_group(block.mlp.fc1, tp.prune_linear_out_channels, idxs=gone).prune()
    left, right = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert left.keys() == right.keys()
    assert all(torch.equal(tensor, right[name]) for name, tensor in left.items())
    images = batch(shape, 2)[0]
    assert torch.equal(ours(images), theirs(images))


def test_every_tensor_of_a_unit_is_a_member() -> None:
    """The groups hold every entry that the oracle gives to units, and no other."""
    found = {m.tensor: (m.dim, m.repeats * m.lanes) for g in PADDED.architecture.structure.groups for m in g.members}
    assert found.keys() == {name for name, _, _ in placed(PADDED, PADDED.dense)}
    assert {name: dim for name, dim, _ in placed(PADDED, PADDED.dense)} == {name: dim for name, (dim, _) in found.items()}
