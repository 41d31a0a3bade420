"""Covariances against numpy, explained variance against least squares; a copied unit is found, and its original explains it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from prune.analysis import redundancy
from prune.analysis.places import read_from
from prune.analysis.redundancy import Redundancy, closest, cosines, covariances, effective_rank, explained_variance
from prune.architectures.group import Group
from prune.pruning.slices import by_unit
from tests.analysis.subjects import MODELS, architecture_of, pixels_of, random_images, subject


def activations(looked_at: object, model: nn.Module, group: Group) -> np.ndarray:
    """Of all images at once: (samples, units, entries)."""
    images, _ = pixels_of(looked_at.images)  # type: ignore[attr-defined]
    found: list[np.ndarray] = []
    with torch.no_grad(), read_from(model, [group], lambda _, given: found.append(given.double().numpy())):
        model(images)
    return found[0]


@pytest.mark.parametrize("family", MODELS)
def test_streamed_covariances_are_those_of_all_samples(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redundancy, "BATCH", 6)
    looked_at = subject(family, random_images(20))
    found = covariances(looked_at, looked_at.now.model)
    for group in looked_at.structure.groups:
        rows = activations(looked_at, looked_at.now.model, group)
        wanted = np.atleast_2d(np.cov(rows.reshape(len(rows), -1).T, bias=True))
        np.testing.assert_allclose(found[group.name], wanted, rtol=1e-4, atol=1e-6 * np.abs(wanted).max())


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(torch.eye(5, dtype=torch.float64)) == pytest.approx(5)
    assert effective_rank(torch.ones((5, 5), dtype=torch.float64)) == pytest.approx(1)
    values = np.array([4.0, 2.0, 1.0])
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = torch.tensor(rotation @ np.diag(values) @ rotation.T)
    assert effective_rank(turned) == pytest.approx(values.sum() ** 2 / (values**2).sum())
    assert effective_rank(torch.zeros(3, 3)) == 0


def test_cosines_are_those_of_the_centred_activations_laid_end_to_end() -> None:
    rows = np.random.default_rng(0).normal(1, 2, (30, 4, 3))
    rows[:, 3] = 7  # does not vary
    covariance = torch.tensor(np.cov(rows.reshape(30, -1).T, bias=True))
    found = cosines(covariance, 3)
    for i in range(3):
        for j in range(3):
            a, b = (rows[:, unit] - rows[:, unit].mean(0) for unit in (i, j))
            assert found[i, j].item() == pytest.approx((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))
    largest, partner = closest(covariance, 3)
    best = [max((abs(found[i, j].item()), -j) for j in range(4) if j != i) for i in range(3)]
    np.testing.assert_allclose(largest[:3], [value for value, _ in best])
    assert [-place for _, place in best] == partner[:3].tolist()
    assert closest(covariance[:3, :3], 3)[1].tolist() == [-1]


def test_explained_variance_is_that_of_least_squares() -> None:
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(200, 4, 2)) @ draw.normal(size=(2, 2)) + draw.normal(size=(200, 1, 1))
    flat = rows.reshape(200, -1)
    covariance = torch.tensor(np.cov(flat.T, bias=True))
    inputs = np.column_stack([rows[:, [0, 2]].reshape(200, -1), np.ones(200)])
    fitted = inputs @ np.linalg.lstsq(inputs, flat, rcond=None)[0]
    wanted = 1 - ((flat - fitted) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum()
    assert explained_variance(covariance, torch.tensor([0, 2]), 2) == pytest.approx(wanted, abs=1e-7)
    assert explained_variance(covariance, torch.arange(4), 2) == 1
    assert explained_variance(covariance, torch.tensor([], dtype=torch.int64), 2) == 0


def copy_unit(model: nn.Module, group: Group, source: int, target: int) -> None:
    """Make one unit compute what another does: all its tensors but those that read it."""
    for member in group.members:
        if member.role != "reads" or member is not group.readers[-1]:
            units = by_unit(model.get_parameter(member.tensor), member)
            units[target] = units[source]


@pytest.mark.parametrize("family", MODELS)
def test_a_unit_made_a_copy_of_another_is_found_and_adds_nothing(family: str) -> None:
    """Unit 1 of every group is a copy of unit 0."""

    def edit(model: nn.Module) -> None:
        for group in architecture_of(family).structure.groups:
            copy_unit(model, group, 0, 1)

    looked_at = subject(family, edit=edit)
    found = Redundancy().measure(looked_at)
    entries = {group.name: group.readers[-1].lanes for group in looked_at.structure.groups}
    dense = covariances(looked_at, looked_at.dense.model)
    for group in looked_at.structure.groups:
        assert found[f"closest.dense/{group.name}"][:2] == pytest.approx([1, 1], abs=1e-6)
        if group.count > 2:
            assert found[f"closest.dense/{group.name}"][2:].max() < 0.9999
        every, without = torch.arange(group.count), torch.tensor([0, *range(2, group.count)])
        assert explained_variance(dense[group.name], without, entries[group.name]) == pytest.approx(1, abs=1e-6)
        assert explained_variance(dense[group.name], every[1:], entries[group.name]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("family", MODELS)
def test_what_is_kept_explains_what_least_squares_says(family: str) -> None:
    looked_at = subject(family, random_images(30))
    found = Redundancy().measure(looked_at)
    for group in looked_at.structure.groups:
        rows = activations(looked_at, looked_at.dense.model, group)
        flat = rows.reshape(len(rows), -1)
        inputs = np.column_stack([rows[:, looked_at.now.keep[group.name].numpy()].reshape(len(rows), -1), np.ones(len(rows))])
        fitted = inputs @ np.linalg.lstsq(inputs, flat, rcond=None)[0]
        wanted = 1 - ((flat - fitted) ** 2).sum() / ((flat - flat.mean(0)) ** 2).sum()
        assert found[f"explained/{group.name}"] == pytest.approx(wanted, abs=1e-4)
        assert (found[f"chance/{group.name}"] >= 0).all() and (found[f"chance/{group.name}"] <= 1).all()
