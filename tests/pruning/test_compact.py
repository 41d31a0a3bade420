"""Compact and masked models agree: logits, gradients of kept weights, whole training trajectories."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from prune.architectures.build import empty_model
from prune.pruning.compact import compact, silenced
from tests.architectures.vits import (
    MICRO,
    SMALL,
    TINY,
    Shape,
    Units,
    batch,
    build,
    cut,
    hold_at_zero,
    keep_set,
    masked,
    random_units,
)

ALL_HEADS, ALL_NEURONS = list(range(8)), list(range(192))
MICRO_KEEPS: dict[str, tuple[Units, Units]] = {
    "random 0": random_units(MICRO, 0),
    "random 1": random_units(MICRO, 1),
    "a block without heads": ([ALL_HEADS, [], [2, 3]], [ALL_NEURONS, [0, 191], ALL_NEURONS]),
    "a block without neurons": ([ALL_HEADS, [1], [2, 3]], [[], [5, 6], ALL_NEURONS]),
    "a block without either": ([[7], [], [0, 4, 6]], [[1, 2, 3], [], [9]]),
    "no unit at all": ([[], [], []], [[], [], []]),
    "everything": ([ALL_HEADS] * 3, [ALL_NEURONS] * 3),
}
SMALL_KEEP = random_units(SMALL, 5)
SMALL_KEEP[0][3].clear()
SMALL_KEEP[1][7].clear()

LOGITS = 1e-5
"""design.md: the largest difference of float32 logits, as a share of their scale."""
GRADIENTS = 1e-4
"""Gradients sum over tokens and images in another order; float32 roundings, relative to each tensor's largest entry."""
DOUBLE = 1e-10
"""In float64 nothing but re-association is left: a trajectory that differs by more is another trajectory."""


def pair(shape: Shape, units: tuple[Units, Units], dtype: torch.dtype) -> tuple[VisionTransformer, VisionTransformer]:
    """(compact, masked) models of the same dense one."""
    dense = build(shape, dtype=dtype)
    small = copy.deepcopy(dense)
    compact(small, shape.architecture, shape.dense, keep_set(units))
    return small, masked(dense, shape, units)


def largest_difference(found: dict[str, Tensor], expected: dict[str, Tensor], floor: float = 1e-12) -> float:
    """The largest relative difference of any tensor, relative to the tensor's largest entry."""
    assert found.keys() == expected.keys()
    worst = 0.0
    for name, value in found.items():
        assert value.shape == expected[name].shape, name
        if value.numel():
            difference = (value - expected[name]).abs().max() / expected[name].abs().max().clamp_min(floor)
            worst = max(worst, float(difference))
    return worst


def values(model: VisionTransformer) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def gradients(model: VisionTransformer, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    # Weights of an empty branch of the compact model are not reached; those of the masked model get zeros.
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def check_agreement(shape: Shape, units: tuple[Units, Units], images: int) -> None:
    small, full = pair(shape, units, torch.float32)
    x, y = batch(shape, images)
    with torch.no_grad():
        expected, found = full(x), small(x)
    assert (found - expected).abs().max() <= LOGITS * expected.abs().max()
    wanted = cut(gradients(full, x, y), shape, units)
    # A gradient that is exactly zero in one model is rounding noise in the other: judge against a real one's size.
    scale = float(wanted["head.weight"].abs().max())
    assert largest_difference(gradients(small, x, y), wanted, floor=1e-3 * scale) <= GRADIENTS


@pytest.mark.parametrize("case", MICRO_KEEPS)
def test_logits_and_gradients_agree(case: str) -> None:
    check_agreement(MICRO, MICRO_KEEPS[case], images=8)


def test_logits_and_gradients_agree_for_vit_small() -> None:
    check_agreement(SMALL, SMALL_KEEP, images=2)


@settings(derandomize=True, max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_logits_and_gradients_agree_for_any_keep_set(seed: int) -> None:
    check_agreement(TINY, random_units(TINY, seed), images=4)


def nothing() -> None:
    return None


def train(model: VisionTransformer, shape: Shape, after_step: Callable[[], None] = nothing, images: int = 4) -> None:
    """Twenty steps of SGD with momentum and weight decay."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2, fused=True)
    for step in range(20):
        x, y = batch(shape, images, seed=100 + step, dtype=model.head.weight.dtype)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        after_step()


@pytest.mark.parametrize("case", MICRO_KEEPS)
def test_twenty_steps_of_sgd_agree(case: str) -> None:
    units = MICRO_KEEPS[case]
    small, full = pair(MICRO, units, torch.float64)
    before = values(small)
    train(small, MICRO)
    train(full, MICRO, lambda: hold_at_zero(full, MICRO, units))
    assert largest_difference(values(small), cut(values(full), MICRO, units)) <= DOUBLE
    assert largest_difference(values(small), before) > 1e-2  # twenty steps went somewhere


def test_twenty_steps_of_sgd_agree_for_vit_small() -> None:
    """At 8 pixels, for speed: five tokens, the same blocks."""
    shape = replace(SMALL, image_size=(8, 8))
    small, full = pair(shape, SMALL_KEEP, torch.float64)
    train(small, shape, images=2)
    train(full, shape, lambda: hold_at_zero(full, shape, SMALL_KEEP), images=2)
    assert largest_difference(values(small), cut(values(full), shape, SMALL_KEEP)) <= DOUBLE


def test_twenty_steps_of_sgd_agree_in_float32() -> None:
    units = MICRO_KEEPS["a block without either"]
    small, full = pair(MICRO, units, torch.float32)
    train(small, MICRO)
    train(full, MICRO, lambda: hold_at_zero(full, MICRO, units))
    # Roundings of 1e-7 a step, amplified over twenty steps with momentum; a wrong index gives differences of order 1.
    assert largest_difference(values(small), cut(values(full), MICRO, units), floor=1e-2) <= 1e-3


def test_compacting_in_stages_is_compacting_at_once() -> None:
    first, last = ([[0, 2, 5], [1, 7], [3]], [[4, 8, 9], [0, 1], [7, 100]]), ([[2, 5], [], [3]], [[8], [0, 1], []])
    staged, at_once = build(MICRO), build(MICRO)
    compact(staged, MICRO.architecture, MICRO.dense, keep_set(first))
    compact(staged, MICRO.architecture, keep_set(first), keep_set(last))
    compact(at_once, MICRO.architecture, MICRO.dense, keep_set(last))
    assert all(torch.equal(value, values(at_once)[name]) for name, value in values(staged).items())
    images = batch(MICRO, 3)[0]
    assert torch.equal(staged(images), at_once(images))


@pytest.mark.parametrize("case", MICRO_KEEPS)
def test_silenced_units_contribute_nothing_and_come_back(case: str) -> None:
    units = MICRO_KEEPS[case]
    model = build(MICRO)
    full, before, images = masked(model, MICRO, units), values(model), batch(MICRO, 8)[0]
    with torch.no_grad():
        with silenced(model, MICRO.structure, MICRO.dense, keep_set(units)):
            found = model(images)
        expected = full(images)
    assert (found - expected).abs().max() <= LOGITS * expected.abs().max()
    assert all(torch.equal(value, before[name]) for name, value in values(model).items())


def test_silenced_units_come_back_after_an_error() -> None:
    model = build(MICRO)
    before = values(model)
    with (
        pytest.raises(KeyboardInterrupt),
        silenced(model, MICRO.structure, MICRO.dense, keep_set(MICRO_KEEPS["no unit at all"])),
    ):
        raise KeyboardInterrupt
    assert all(torch.equal(value, before[name]) for name, value in values(model).items())


def test_units_of_a_compact_model_can_be_silenced() -> None:
    """Original indices are given, positions among those alive are zeroed."""
    alive, keep = ([[1, 4, 6], [], [0, 7]], [[2, 3, 9], [5, 190], []]), ([[4], [], [0]], [[3, 9], [190], []])
    model, smaller = build(MICRO), build(MICRO)
    compact(model, MICRO.architecture, MICRO.dense, keep_set(alive))
    compact(smaller, MICRO.architecture, MICRO.dense, keep_set(keep))
    images = batch(MICRO, 8)[0]
    with torch.no_grad():
        with silenced(model, MICRO.structure, keep_set(alive), keep_set(keep)):
            found = model(images)
        expected = smaller(images)
        assert not torch.allclose(model(images), expected, rtol=1e-3)
    assert (found - expected).abs().max() <= LOGITS * expected.abs().max()


def test_an_empty_model_takes_the_tensors_of_a_compact_one() -> None:
    units = MICRO_KEEPS["a block without either"]
    small, _ = pair(MICRO, units, torch.float32)
    empty = empty_model(MICRO.architecture, keep_set(units).counts()).to_empty(device="cpu").eval()
    empty.load_state_dict(small.state_dict())
    images = batch(MICRO, 3)[0]
    assert torch.equal(empty(images), small(images))


def test_frozen_parameters_stay_frozen() -> None:
    model = build(TINY)
    model.blocks[0].attn.qkv.weight.requires_grad_(False)
    compact(model, TINY.architecture, TINY.dense, keep_set(random_units(TINY, 1)))
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["blocks.0.attn.qkv.weight"]


@pytest.mark.parametrize("case", MICRO_KEEPS)
def test_module_sizes_tell_the_truth(case: str) -> None:
    small, _ = pair(MICRO, MICRO_KEEPS[case], torch.float32)
    for block in small.blocks:
        assert (block.attn.qkv.out_features, block.attn.qkv.in_features) == tuple(block.attn.qkv.weight.shape)
        assert (block.attn.proj.out_features, block.attn.proj.in_features) == tuple(block.attn.proj.weight.shape)
        assert (block.mlp.fc1.out_features, block.mlp.fc1.in_features) == tuple(block.mlp.fc1.weight.shape)
        assert (block.mlp.fc2.out_features, block.mlp.fc2.in_features) == tuple(block.mlp.fc2.weight.shape)
        assert block.attn.attn_dim == block.attn.num_heads * MICRO.head_dim == block.attn.proj.in_features
