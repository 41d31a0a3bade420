"""What criteria are given, and what they must leave as it was."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from prune.architectures.group import Group
from prune.base.registries import CRITERIA
from prune.pruning.keepset import KeepSet
from tests.architectures.vits import TINY, build
from tests.pruning.criteria.oracle import KINDS, batches, check, densities, group, numbers, places, scores, scoring, size


def test_parts_hold_the_weights_of_each_unit(model: VisionTransformer, keep: KeepSet) -> None:
    """In the members' order: what makes the unit, its bias, what reads it; a view, unit first."""
    given = scoring(model)
    for members in given.structure.groups:
        parts = given.parts(members)
        assert [part.member for part in parts] == list(members.members)
        for unit in range(len(keep[members.name])):
            for part, role in zip(parts, ("producer", "bias", "consumer"), strict=True):
                of_unit = sorted(part.tensor[unit].flatten().tolist())
                assert of_unit == sorted(numbers(model, members.block, members.kind, unit, role))


def test_parts_of_gradients_lie_where_those_of_weights_do(model: VisionTransformer) -> None:
    given = scoring(model)
    gradients = {name: 3 * parameter.detach() for name, parameter in model.named_parameters()}
    for members in given.structure.groups:
        for weight, gradient in zip(given.parts(members), given.parts(members, gradients), strict=True):
            assert torch.equal(gradient.tensor, 3 * weight.tensor)


def test_collected_scores_name_every_group_once_kind_by_kind(model: VisionTransformer) -> None:
    order: list[str] = []

    def score(of: Group) -> torch.Tensor:
        order.append(of.name)
        return torch.ones(1, requires_grad=True) * 2

    found = scoring(model).collect(score)
    assert order == list(found) == [group(block, kind) for kind in KINDS for block in range(TINY.depth)]
    assert not any(vector.requires_grad for vector in found.values())


@pytest.mark.parametrize("name", ["taylor", "activation"])
def test_criteria_that_need_data_work_in_evaluation_mode(name: str) -> None:
    model = build(TINY, dtype=torch.float64)
    calm = scores(name, model, data=batches())
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    found = scores(name, model, data=batches())
    assert model.training
    assert all(module.training for module in model.modules())
    assert found.keys() == calm.keys()
    assert all(torch.equal(vector, calm[key]) for key, vector in found.items())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["remaining", "remaining_count", "taylor"])
def test_densities_from_scores(name: str, model: VisionTransformer, keep: KeepSet) -> None:
    data = batches(2)
    plain = scores(name, model, data=data)
    power = 0.5 if name == "taylor" else 1
    check(
        densities(name, model, data=data),
        keep,
        lambda block, kind, unit: plain[group(block, kind)][unit].item() ** power / size(kind),
    )


@pytest.mark.parametrize("name", CRITERIA.names())
def test_a_criterion_leaves_the_weights_alone(name: str, model: VisionTransformer) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scores(name, model, data=batches(1))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_the_oracle_places_every_weight_of_the_units_once(model: VisionTransformer, keep: KeepSet) -> None:
    """The other tests of this folder rest on it."""
    counts = {name: torch.zeros_like(parameter, dtype=torch.int64) for name, parameter in model.named_parameters()}
    for kind in KINDS:
        for block in range(TINY.depth):
            for unit in range(len(keep[group(block, kind)])):
                for role in ("producer", "bias", "consumer"):
                    for name, index in places(model, block, kind, unit)[role]:
                        counts[name][index] += 1
    held = {name for name in counts if name.endswith(("qkv.weight", "qkv.bias", "attn.proj.weight"))}
    held |= {name for name in counts if name.endswith(("fc1.weight", "fc1.bias", "fc2.weight"))}
    assert all((count == (name in held)).all() for name, count in counts.items())
