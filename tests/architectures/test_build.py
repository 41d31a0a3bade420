"""A run's model: its seed, its sizes, and rebuilding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from prune.architectures.build import build_model, empty_model, fill_buffers, restore_model
from prune.architectures.vit import ViT
from prune.base.errors import UserError
from prune.pruning.compact import compact
from tests.architectures.composed import TINY, build
from tests.architectures.vits import MICRO, Units, batch, cut, keep_set, random_units
from tests.architectures.vits import build as build_small
from tests.conftest import Compose

CPU = torch.device("cpu")


def test_weights_derive_from_the_seed_alone(compose: Compose) -> None:
    config = compose("dataset=digits", "model=vit_micro")
    torch.manual_seed(5)
    first = build(config, 3).state_dict()
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))  # the default generator is as it was
    again, other = build(config, 3).state_dict(), build(config, 4).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"])


@pytest.mark.parametrize(
    ("model", "dataset", "parameters"),
    [("vit_small", "cifar10", 21_342_346), ("vit_tiny", "cifar100", None), ("vit_micro", "digits", None)],
)
def test_conf_states_the_sizes_that_timm_has(compose: Compose, model: str, dataset: str, parameters: int | None) -> None:
    config = compose(f"dataset={dataset}", f"model={model}", "model.pretrained=false")
    built = build_model(config.architecture(), 0)
    counted = sum(parameter.numel() for parameter in built.parameters())
    assert counted == config.architecture().structure.parameters()
    assert parameters in (None, counted)
    size = config.dataset.size
    assert built(torch.zeros(2, config.dataset.channels, *size)).shape == (2, config.dataset.classes)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.depth=11", r"model\.depth=11 but .* has 12"),
        ("model.embed_dim=96", r"model\.embed_dim=96 but .* has 192"),
        ("model.num_heads=4", r"model\.num_heads=4 but .* has 3"),
        ("model.mlp_ratio=2", r"model\.mlp_ratio=2.0 but .* has 4.0"),
        ("model.name=vit_tny_patch16_224", r"model\.name='vit_tny_patch16_224' is not a timm model"),
        ("model.name=resnet18", r"model\.name='resnet18' is not a"),
    ],
)
def test_sizes_and_names_that_do_not_fit_are_refused(compose: Compose, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(compose(*TINY, "model.pretrained=false", override))


def test_a_ratio_without_a_whole_number_of_neurons_is_rounded_down(compose: Compose) -> None:
    config = compose("dataset=digits", "model=vit_micro", "model.mlp_ratio=2.3")
    model = build(config)
    assert {block.mlp.fc1.out_features for block in model.blocks} == {110}  # 48 × 2.3 = 110.4
    assert sum(parameter.numel() for parameter in model.parameters()) == config.architecture(10).structure.parameters()


UNITS = [
    random_units(MICRO, 3),
    ([[7], [], [0, 4, 6]], [[1, 2, 3], [], [9]]),
    ([[], [], []], [[], [], []]),
    ([list(range(8))] * 3, [list(range(192))] * 3),
]


@pytest.mark.parametrize("units", UNITS)
def test_an_empty_model_has_the_names_and_sizes_of_the_compact_one(units: tuple[Units, Units]) -> None:
    wanted = cut(dict(build_small(MICRO).state_dict()), MICRO, units)
    torch.manual_seed(5)
    model: Any = empty_model(MICRO.architecture, keep_set(units).counts())
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))  # no random number was drawn
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == {
        name: tensor.shape for name, tensor in wanted.items()
    }
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
    for block, heads, neurons in zip(model.blocks, *units, strict=True):
        assert block.attn.num_heads == len(heads)
        assert (block.mlp.fc1.out_features, block.mlp.fc2.in_features) == (len(neurons), len(neurons))


@pytest.mark.parametrize("units", UNITS)
def test_a_restored_model_is_the_compact_one(units: tuple[Units, Units]) -> None:
    small = build_small(MICRO)
    compact(small, MICRO.architecture, MICRO.dense, keep_set(units))
    tensors = dict(small.state_dict())
    model = restore_model(MICRO.architecture, keep_set(units).counts(), tensors, CPU).eval()
    images = batch(MICRO, 3)[0]
    assert torch.equal(model(images), small(images))
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in model.parameters())


def test_training_a_restored_model_leaves_the_given_tensors_alone() -> None:
    tensors = dict(build_small(MICRO).state_dict())
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    model = restore_model(MICRO.architecture, MICRO.structure.dense, tensors, CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())


@pytest.mark.parametrize("change", ["lacks one", "has one more", "has another size"])
def test_tensors_of_another_model_are_not_restored(change: str) -> None:
    tensors = dict(build_small(MICRO).state_dict())
    if change == "lacks one":
        del tensors["blocks.1.mlp.fc1.bias"]
    elif change == "has one more":
        tensors["blocks.3.mlp.fc1.bias"] = torch.zeros(192)
    else:
        tensors["blocks.1.mlp.fc1.bias"] = torch.zeros(191)
    with pytest.raises(RuntimeError, match=r"mlp\.fc1\.bias"):
        restore_model(MICRO.architecture, MICRO.structure.dense, tensors, CPU)


class Tables(ViT):
    """A family with a table of indices and a ramp that no checkpoint holds, one at the top and one deep inside."""

    def create(self) -> nn.Module:
        model = super().create()
        model.register_buffer("order", torch.arange(5), persistent=False)
        model.blocks[1].attn.register_buffer("ramp", torch.linspace(0, 1, 4), persistent=False)  # type: ignore[index,union-attr]
        return model


def test_buffers_that_are_in_no_checkpoint_are_made_afresh() -> None:
    architecture = Tables(MICRO.architecture.options, MICRO.image_size, MICRO.channels, MICRO.classes)
    tensors = dict(build_small(MICRO).state_dict())
    torch.manual_seed(5)
    model = restore_model(architecture, MICRO.structure.dense, tensors, CPU)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))  # the default generator is as it was
    assert torch.equal(model.get_buffer("order"), torch.arange(5))
    assert torch.equal(model.get_buffer("blocks.1.attn.ramp"), torch.linspace(0, 1, 4))
    assert model.state_dict().keys() == tensors.keys()  # they are in no checkpoint of the restored model either
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())


def test_buffers_that_have_values_are_left_alone() -> None:
    architecture = Tables(MICRO.architecture.options, MICRO.image_size, MICRO.channels, MICRO.classes)
    model = architecture.create()
    model.get_buffer("order").fill_(9)
    fill_buffers(architecture, model, CPU)
    assert model.get_buffer("order").tolist() == [9] * 5
