"""The optimiser's state through removal and through a checkpoint, against torch's own optimisers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from prune.config.optim import OptimConfig
from prune.engine import optim
from prune.pruning.compact import compact
from tests.architectures import mambas, vit_variants
from tests.architectures.swins import SHIFTED
from tests.architectures.vits import MICRO, Units, batch, build, cut, hold_at_zero, keep_set, placed, random_units


def config(**changes: Any) -> OptimConfig:
    values = {"name": "sgd", "lr": 0.02, "weight_decay": 0.01, "batch_size": 4, **changes}
    return OptimConfig.model_validate(values)


@pytest.mark.parametrize("decay", ["all", "matrices"])
def test_which_parameters_decay(decay: str) -> None:
    model = build(MICRO)
    optimizer = optim.make_optimizer(config(name="adamw", decay=decay), model)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decays) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        # By name, not by dimension: linear layers and the patch embedding are matrices.
        matrix = name.endswith("weight") and "norm" not in name
        assert decays[id(parameter)] == (0.01 if decay == "all" or matrix else 0.0), name


SPARED = {
    "vit": ("norm", "bias", "pos_embed", "cls_token", "reg_token", "ls1.", "ls2."),
    "swin": ("norm", "bias"),  # the tables of relative positions are called biases as well
    "mamba": ("norm", "bias", "pos_embed", "cls_token", "A_log", "A_b_log", "mixer.D", "mixer.D_b", "conv1d"),
}
"""Family → what is no matrix that decays, by parts of names."""


@pytest.mark.parametrize("family", SPARED)
def test_what_a_model_names_is_spared_though_it_has_a_matrixs_shape(family: str) -> None:
    models = {
        "vit": lambda: vit_variants.architecture("registers with positions", init_values=0.1).create(),
        "swin": SHIFTED.architecture.create,
        "mamba": lambda: mambas.build(mambas.HYBRID),
    }
    model = models[family]()
    optimizer = optim.make_optimizer(config(decay="matrices"), model)
    decays = {id(p): group["weight_decay"] > 0 for group in optimizer.param_groups for p in group["params"]}
    found = {name: decays[id(parameter)] for name, parameter in model.named_parameters()}
    assert found == {name: not any(part in name for part in SPARED[family]) for name in found}
    assert all(any(part in name for name in found) for part in SPARED[family] if part not in ("cls_token", "mixer.D"))


def test_a_plain_vits_groups_are_those_of_its_shapes() -> None:
    """In the order of the model: what timm's ViT names has three dimensions anyway."""
    model = build(MICRO)
    first, second = optim.make_optimizer(config(decay="matrices"), model).param_groups
    shapes = [parameter.dim() in (2, 4) for parameter in model.parameters()]
    assert [id(p) for p in first["params"]] == [id(p) for p, yes in zip(model.parameters(), shapes, strict=True) if yes]
    assert [id(p) for p in second["params"]] == [id(p) for p, yes in zip(model.parameters(), shapes, strict=True) if not yes]


OPTIMISERS: dict[str, tuple[OptimConfig, Callable[[list[Any]], torch.optim.Optimizer]]] = {
    "sgd": (
        config(momentum=0.9),
        lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9, foreach=False),
    ),
    "adamw": (
        config(name="adamw", lr=2e-3, betas=(0.8, 0.99), decay="matrices"),
        lambda groups: torch.optim.AdamW(groups, lr=2e-3, betas=(0.8, 0.99), foreach=False),
    ),
}


def reference(name: str, model: VisionTransformer) -> torch.optim.Optimizer:
    """torch's optimiser, not fused, with the groups that the configuration means."""
    settings, make = OPTIMISERS[name]

    def decays(parameter: str) -> bool:
        return settings.decay == "all" or (parameter.endswith("weight") and "norm" not in parameter)

    named = list(model.named_parameters())
    return make(
        [
            {"params": [p for key, p in named if decays(key)], "weight_decay": 0.01},
            {"params": [p for key, p in named if not decays(key)], "weight_decay": 0.0},
        ]
    )


def train(model: VisionTransformer, optimizer: torch.optim.Optimizer, first: int, steps: int) -> None:
    for step in range(first, first + steps):
        images, labels = batch(MICRO, 4, seed=step, dtype=torch.float64)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def check_same(found: VisionTransformer, expected: dict[str, torch.Tensor]) -> None:
    for name, tensor in found.state_dict().items():
        # float64: only the order of sums differs between the models.
        torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")


EMPTIED: tuple[Units, Units] = ([[1, 6], [], [0, 2, 3]], [[3, 100], [5], []])


@pytest.mark.parametrize("units", [random_units(MICRO, 3), EMPTIED], ids=["random", "emptied"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_removal_in_mid_training_leaves_the_kept_units_trajectory(name: str, units: tuple[Units, Units]) -> None:
    """Compact, with the state sliced, goes on as the full-size model does whose removed units are held at zero."""
    ours, full = build(MICRO, dtype=torch.float64), build(MICRO, dtype=torch.float64)
    mine, theirs = optim.make_optimizer(OPTIMISERS[name][0], ours), reference(name, full)
    train(ours, mine, 0, 4)
    train(full, theirs, 0, 4)

    keep = keep_set(units)
    state = optim.slice_state(optim.state_by_name(mine, ours), MICRO.structure, MICRO.dense, keep)
    compact(ours, MICRO.architecture, MICRO.dense, keep)
    mine = optim.make_optimizer(OPTIMISERS[name][0], ours)
    optim.load_state_by_name(mine, ours, state)
    hold_at_zero(full, MICRO, units)
    for step in range(4, 8):
        train(ours, mine, step, 1)
        train(full, theirs, step, 1)
        hold_at_zero(full, MICRO, units)
    check_same(ours, cut(full.state_dict(), MICRO, units))


@pytest.mark.parametrize(("name", "keys"), [("sgd", {"momentum_buffer"}), ("adamw", {"exp_avg", "exp_avg_sq"})])
def test_sliced_state_is_cut_index_by_index(name: str, keys: set[str]) -> None:
    units = random_units(MICRO, 8)
    model = build(MICRO)
    optimizer = optim.make_optimizer(OPTIMISERS[name][0], model)
    for step in range(3):
        images, labels = batch(MICRO, 4, seed=step)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    state = copy.deepcopy(optim.state_by_name(optimizer, model))
    sliced = optim.slice_state(state, MICRO.structure, MICRO.dense, keep_set(units))
    assert sliced.keys() == state.keys() == dict(model.named_parameters()).keys()
    with_units = {tensor: (dim, index) for tensor, dim, index in placed(MICRO, units)}
    for tensor, entry in state.items():
        assert keys <= entry.keys()
        for key, value in entry.items():
            if tensor in with_units and key in keys:
                dim, index = with_units[tensor]
                expected = value[index] if dim == 0 else value[:, index]
                assert torch.equal(sliced[tensor][key], expected)
                assert len(index) < value.shape[dim] or value.shape == expected.shape
            elif isinstance(value, torch.Tensor):
                assert torch.equal(sliced[tensor][key], value)  # step counts, and tensors without units
            else:
                assert sliced[tensor][key] == value


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_restored_optimiser_goes_on_bit_for_bit(name: str) -> None:
    model = build(MICRO, dtype=torch.float64)
    optimizer = optim.make_optimizer(OPTIMISERS[name][0], model)
    train(model, optimizer, 0, 3)
    copied = copy.deepcopy(model)
    state = copy.deepcopy(optim.state_by_name(optimizer, model))
    restored = optim.make_optimizer(OPTIMISERS[name][0], copied)
    optim.load_state_by_name(restored, copied, state)
    train(model, optimizer, 3, 3)
    train(copied, restored, 3, 3)
    assert all(torch.equal(value, copied.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_fresh_optimiser_has_no_state_and_takes_the_learning_rate() -> None:
    model = build(MICRO)
    optimizer = optim.make_optimizer(config(decay="matrices"), model)
    assert optim.state_by_name(optimizer, model) == {}
    optim.set_learning_rate(optimizer, 0.123)
    assert [group["lr"] for group in optimizer.param_groups] == [0.123, 0.123]
