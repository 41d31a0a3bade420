"""Quantiles and norms against loops over the entries of each unit; kept and removed units apart."""

from __future__ import annotations

import numpy as np
import pytest

from prune.analysis.weights import QUANTILES, Weights, kept_and_removed
from prune.architectures.group import Group
from tests.analysis.subjects import MODELS, subject


def entries(tensor: np.ndarray, group: Group, member_index: int, unit: int, alive: int) -> np.ndarray:
    """A unit's entries of one member's tensor, spelt out index by index."""
    member = group.members[member_index]
    places = [
        repeat * alive * member.lanes + unit * member.lanes + lane
        for repeat in range(member.repeats)
        for lane in range(member.lanes)
    ]
    return np.take(tensor, places, axis=member.dim).ravel()


@pytest.mark.parametrize("family", MODELS)
def test_norms_and_quantiles_are_those_of_each_units_own_entries(family: str) -> None:
    looked_at = subject(family)
    found = Weights().measure(looked_at)
    for name, snapshot in (("now", looked_at.now), ("dense", looked_at.dense), ("before", looked_at.before)):
        for group in looked_at.structure.groups:
            alive = len(snapshot.keep[group.name])
            tensors = [snapshot.model.get_parameter(member.tensor).detach().double().numpy() for member in group.members]
            units = [
                [entries(tensor, group, number, unit, alive) for number, tensor in enumerate(tensors)] for unit in range(alive)
            ]
            norms = [np.sqrt(sum((part**2).sum() for part in parts)) for parts in units]
            np.testing.assert_allclose(found[f"norm.{name}/{group.name}"], norms, rtol=1e-12)
            if name == "before":
                continue
            weights = [part for parts in units for part, member in zip(parts, group.members, strict=True) if member.matrix]
            wanted = np.quantile(np.abs(np.concatenate(weights)), QUANTILES)
            np.testing.assert_allclose(found[f"quantiles.{name}/{group.name}"], wanted, rtol=1e-12)


@pytest.mark.parametrize("family", MODELS)
def test_kept_and_removed_units_are_told_apart_by_their_original_index(family: str) -> None:
    looked_at = subject(family)
    found = Weights().measure(looked_at)
    for group in looked_at.structure.groups:
        norms = found[f"norm.dense/{group.name}"]
        kept, removed = kept_and_removed(found, group.name)
        np.testing.assert_array_equal(kept, norms[::2])
        np.testing.assert_array_equal(removed, norms[1::2])
        np.testing.assert_allclose(found[f"norm.now/{group.name}"], norms[::2])  # it was not trained since


def test_state_0_has_nothing_before_it() -> None:
    found = Weights().measure(subject("vit", state=0))
    assert not [name for name in found if "before" in name]
