"""What a criterion is, and what it may look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prune.architectures.group import Group, Member, Structure
from prune.pruning.ranking import Scores
from prune.pruning.slices import by_unit

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Part:
    """What the units of a group have in one tensor: [units, repeats, lanes, all other dimensions], a view."""

    member: Member
    tensor: Tensor


@dataclass(frozen=True)
class Scoring:
    """All that a criterion may look at.

    Attributes:
        model: the trained model, dense or compact, made of the library's own modules.
        structure: the dense model's groups.
        rates: kind → p_s, the share that goes since the start of the run.
        kinds: the kinds that are being pruned.
        batches: gives the calibration batches afresh: (normalised images, labels), never augmented.
        generator: seeded for this run and state.
    """

    model: nn.Module
    structure: Structure
    rates: Mapping[str, float]
    kinds: tuple[str, ...]
    batches: Batches
    generator: torch.Generator

    def parts(self, group: Group, gradients: Mapping[str, Tensor] | None = None) -> list[Part]:
        """The tensors of a group's units, in the order of its members; or their gradients, given by tensor name."""

        def value(name: str) -> Tensor:
            return self.model.get_parameter(name) if gradients is None else gradients[name]

        return [Part(member, by_unit(value(member.tensor), member)) for member in group.members]

    def collect(self, score: Callable[[Group], Tensor]) -> Scores:
        """Apply a function of a group to every group, kind by kind; the vectors come back on the CPU."""
        return {group.name: score(group).detach().cpu() for kind in self.structure.kinds for group in self.structure.of(kind)}

    def per_parameter(self, scores: Scores) -> Scores:
        """Scores divided by the parameters of one unit."""
        return {group.name: scores[group.name] / group.parameters for group in self.structure.groups}


class Criterion(ABC):
    """Scores units. `scores` serves `pools=separate`; `densities`, comparable between kinds, serves `pools=joint`."""

    @abstractmethod
    def scores(self, scoring: Scoring) -> Scores:
        """One score per alive unit, comparable within a kind."""

    @abstractmethod
    def densities(self, scoring: Scoring) -> Scores:
        """One number per alive unit, comparable between kinds."""


def sum_units(tensor: Tensor) -> Tensor:
    """Sum over everything but dimension 0, the unit."""
    return tensor.flatten(1).sum(1)


def sum_parts(parts: Iterable[Part], function: Callable[[Tensor], Tensor]) -> Tensor:
    """Σ function(w) over the given parts of each unit."""
    return torch.stack([sum_units(function(part.tensor)) for part in parts]).sum(0)
