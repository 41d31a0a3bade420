"""Blocks and readers of every family, found through groups alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from prune.analysis.places import INPUT, outputs_of, read_from
from prune.architectures.group import Group, Member, Structure
from prune.pruning.replay import block_modules
from tests.analysis.subjects import MODELS, architecture_of, dense_model, pixels_of, random_images, subject

BLOCKS = {
    "vit": ["blocks.0", "blocks.1", "blocks.2"],
    "swin": ["layers.0.blocks.0", "layers.0.blocks.1", "layers.1.blocks.0"],
    "mamba": ["layers.0", "layers.1"],
}


@pytest.mark.parametrize("family", MODELS)
def test_a_block_is_what_holds_its_groups_and_their_residual_sums(family: str) -> None:
    found = block_modules(dense_model(family), architecture_of(family).structure)
    assert list(found.values()) == BLOCKS[family]


@pytest.mark.parametrize(
    ("group", "block"), [("blocks.0.mixer", "blocks.0"), ("blocks.1", "blocks.1"), ("trunk.2.mlp", "trunk.2")]
)
def test_a_block_of_one_group_is_that_group_or_what_adds_to_it(group: str, block: str) -> None:
    model = nn.ModuleDict({
        "blocks": nn.ModuleList([nn.ModuleDict({"mixer": nn.Linear(2, 2)}), nn.Linear(2, 2)]),
        "trunk": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ModuleDict({"mlp": nn.Linear(2, 2)})),
    })  # fmt: skip
    other = Group("blocks.0.mixer" if group != "blocks.0.mixer" else "blocks.1", "neurons", 7, 2, 1, ())
    structure = Structure((Group(group, "neurons", 3, 2, 1, (Member("x", 0, 1, "reads"),)), other), 0, 0)
    assert block_modules(model, structure)[3] == block


@pytest.mark.parametrize("family", MODELS)
def test_what_a_block_gives_is_what_the_next_is_given(family: str) -> None:
    model, (images, _) = dense_model(family), pixels_of(random_images(3))
    seen: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(lambda _, inputs, name=name: given.update({name: inputs[0]}))
        for name in BLOCKS[family]
    ]
    with torch.no_grad(), outputs_of(model, BLOCKS[family], lambda name, value: seen.update({name: value})):
        model(images)
    for handle in handles:
        handle.remove()
    assert list(seen) == [INPUT, *BLOCKS[family]]
    assert torch.equal(seen[INPUT], given[BLOCKS[family][0]])
    for before, after in zip(BLOCKS[family], BLOCKS[family][1:], strict=False):
        if seen[before].shape == given[after].shape:  # patches are merged between two stages of a Swin
            assert torch.equal(seen[before], given[after])
    seen.clear()
    model(images)
    assert not seen  # the hooks are gone


@pytest.mark.parametrize("family", MODELS)
def test_readers_are_given_one_row_a_token_and_each_units_entries_together(family: str) -> None:
    looked_at = subject(family)
    model, keep = looked_at.now.model, looked_at.now.keep
    seen: dict[str, Tensor] = {}
    raw: dict[str, Tensor] = {}
    for group in looked_at.structure.groups:
        model.get_submodule(group.readers[-1].module).register_forward_pre_hook(
            lambda _, inputs, name=group.name: raw.update({name: inputs[0]})
        )
    images, _ = pixels_of(random_images(2))
    with torch.no_grad(), read_from(model, looked_at.structure.groups, lambda group, value: seen.update({group.name: value})):
        model(images)
    for group in looked_at.structure.groups:
        lanes, units = group.readers[-1].lanes, len(keep[group.name])
        rows = raw[group.name].reshape(-1, units * lanes)
        assert seen[group.name].shape == (len(rows), units, lanes)
        for unit in range(units):
            assert torch.equal(seen[group.name][:, unit], rows[:, unit * lanes : (unit + 1) * lanes])
