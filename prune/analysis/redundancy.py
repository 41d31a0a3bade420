"""How much of what units compute is said by others: effective rank, units that are alike, and what the kept units explain."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from prune.analysis.base import Analysis, Numbers, Shown, Subject
from prune.analysis.moments import Moments
from prune.analysis.places import read_from
from prune.analysis.redundancy_figures import alike, explained, ranks
from prune.architectures.group import Group
from prune.base.seeding import generator

BATCH = 128

DRAWS = 5
"""Random choices of as many units, with whose explained variance that of the kept ones is compared."""

RIDGE = 1e-9
"""Of the mean variance, added to each feature's before the linear map is solved for: copies make it singular."""


class Redundancy(Analysis):
    """From the covariance, over all tokens of all images, of what the last layer that reads a group's units is given.

    With its eigenvalues λ the effective rank is the participation ratio (Σλ)²/Σλ². Two units' likeness is the cosine of their
    centred activations over all entries. What kept units explain is the share of the dense group's variance that the best
    linear map of them gives.
    """

    title = "Redundancy"
    most_images = 1000
    compares = ("dense",)

    def measure(self, subject: Subject) -> Numbers:
        numbers: Numbers = {}
        models = {"dense": subject.dense} | ({"now": subject.now} if subject.state else {})
        for name, snapshot in models.items():
            found = covariances(subject, snapshot.model)
            for group in subject.structure.groups:
                covariance = found.pop(group.name).cpu()
                entries = _entries(group)
                numbers[f"rank.{name}/{group.name}"] = effective_rank(covariance)
                numbers[f"features.{name}/{group.name}"] = len(covariance)
                likeness, partner = closest(covariance, entries)
                numbers[f"closest.{name}/{group.name}"], numbers[f"partner.{name}/{group.name}"] = likeness, partner
                if name == "dense" and subject.state:
                    kept = subject.now.keep[group.name]
                    numbers[f"kept/{group.name}"] = kept.numpy()
                    numbers[f"explained/{group.name}"] = explained_variance(covariance, kept, entries)
                    numbers[f"chance/{group.name}"] = np.array(
                        [explained_variance(covariance, _draw(group, len(kept), draw), entries) for draw in range(DRAWS)]
                    )
        return numbers

    def show(self, subject: Subject, numbers: Numbers) -> Shown:
        figures = [ranks(subject, numbers), alike(subject, numbers)]
        if not subject.state:
            return Shown(figures)
        return Shown([*figures, explained(subject, numbers)], [_sentence(subject, numbers, k) for k in subject.structure.kinds])


@torch.no_grad()
def covariances(subject: Subject, model: nn.Module) -> dict[str, Tensor]:
    """Group → covariance of what its last reader is given: (entries, entries), a unit's entries one after the other."""
    moments = {group.name: Moments() for group in subject.structure.groups}
    with read_from(model, subject.structure.groups, lambda group, given: moments[group.name].add(given.flatten(1))):
        for images, _ in subject.track(subject.images.batches(BATCH), subject.images.count(BATCH)):
            model(images)
    return {name: found.covariance for name, found in moments.items()}


def effective_rank(covariance: Tensor) -> float:
    """(Σλ)²/Σλ² = (tr C)²/‖C‖²: between 1 and the number of features; 0 where nothing varies."""
    squares = covariance.square().sum().item()
    return covariance.trace().item() ** 2 / squares if squares else 0.0


def cosines(covariance: Tensor, entries: int) -> Tensor:
    """Cosine of each pair of units' centred activations, over all their entries: (units, units). 0 where one does not vary."""
    units = len(covariance) // entries
    blocks = covariance.view(units, entries, units, entries)
    products = blocks.diagonal(dim1=1, dim2=3).sum(-1)
    norms = products.diagonal().sqrt()
    scale = torch.outer(norms, norms)
    return torch.where(scale > 0, products / scale, 0.0)


def closest(covariance: Tensor, entries: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each unit the largest |cosine| with another unit of its group, and that unit's place; -1 where there is no other."""
    units = len(covariance) // entries
    if units < 2:
        return np.zeros(units), np.full(units, -1)
    likeness = cosines(covariance, entries).abs().fill_diagonal_(-1)
    largest, partner = likeness.max(1)
    return largest.numpy(), partner.numpy()


def explained_variance(covariance: Tensor, kept: Tensor, entries: int) -> float:
    """Share of the variance of all units that the best linear map of the kept ones gives, in [0, 1]; nan if nothing varies."""
    total = covariance.trace().item()
    chosen = torch.zeros(len(covariance) // entries, dtype=torch.bool)
    chosen[kept] = True
    inside = chosen.repeat_interleave(entries)
    if not total:
        return float("nan")
    if inside.all() or not inside.any():
        return float(inside.any())
    own, across, rest = covariance[inside][:, inside], covariance[inside][:, ~inside], covariance[~inside][:, ~inside]
    ridge = RIDGE * total / len(covariance)
    factor = torch.linalg.cholesky(own + ridge * torch.eye(len(own), dtype=own.dtype))
    mapped = torch.linalg.solve_triangular(factor, across, upper=False).square().sum().item()
    left = max(rest.trace().item() - mapped, 0.0)
    return 1 - left / total


def _entries(group: Group) -> int:
    reader = group.readers[-1]
    return reader.repeats * reader.lanes


def _draw(group: Group, count: int, draw: int) -> Tensor:
    return torch.randperm(group.count, generator=generator(0, f"redundancy/{group.name}", draw))[:count]


def _sentence(subject: Subject, numbers: Numbers, kind: str) -> str:
    groups = subject.structure.of(kind)
    kept = np.array([numbers[f"explained/{group.name}"] for group in groups])
    chance = np.stack([numbers[f"chance/{group.name}"] for group in groups])
    above, below = int((kept > chance.max(1)).sum()), int((kept < chance.min(1)).sum())
    return (
        f"Of the variance of the dense {kind} the kept ones explain {100 * np.nanmean(kept):.0f} %, mean over blocks; as many "
        f"random ones {100 * np.nanmean(chance):.0f} %. In {above} of {len(groups)} blocks they explain more than each of "
        f"{DRAWS} random choices, in {below} less than each; a random choice would be above all in one block of {DRAWS + 1}."
    )
