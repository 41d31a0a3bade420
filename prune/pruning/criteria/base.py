"""What a criterion is, and what it may look at. Composing a configuration imports criteria: torch only inside functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from prune.architectures.group import Group, Measure, Member, Structure

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from prune.pruning.ranking import Scores


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
        logits: images → the model's logits, in the run's precision, as float32.
        structure: the dense model's groups.
        rates: kind → p_s, the share that goes since the start of the run, of whatever `measure` says.
        kinds: the kinds that are being pruned.
        batches: gives the calibration batches afresh: (normalised images, labels), never augmented.
        generator: seeded for this run and state.
        measure: what the state's budget is one of: units, parameters or MACs.
    """

    model: nn.Module
    logits: Callable[[Tensor], Tensor]
    structure: Structure
    rates: Mapping[str, float]
    kinds: tuple[str, ...]
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]
    generator: torch.Generator
    measure: Measure = "units"

    def parts(self, group: Group, gradients: Mapping[str, Tensor] | None = None) -> list[Part]:
        """The tensors of a group's units, in the order of its members; or their gradients, given by tensor name.

        They share memory with the model but not its graph: nothing that is computed of them is differentiated.
        """
        from prune.pruning.slices import by_unit

        def value(name: str) -> Tensor:
            return self.model.get_parameter(name).detach() if gradients is None else gradients[name]

        return [Part(member, by_unit(value(member.tensor), member)) for member in group.members]

    def collect(self, score: Callable[[Group], Tensor]) -> Scores:
        """Apply a function of a group to every group, kind by kind; the vectors come back on the CPU."""
        return {group.name: score(group).detach().cpu() for kind in self.structure.kinds for group in self.structure.of(kind)}

    def per_cost(self, scores: Scores) -> Scores:
        """Scores divided by what one unit costs: its parameters; where MACs are to be saved, its MACs (at least 1)."""
        measure: Measure = "macs" if self.measure == "macs" else "parameters"
        return {group.name: scores[group.name] / max(1, group.cost(measure)) for group in self.structure.groups}


class Criterion(ABC):
    """Scores units. `scores` serves `pools=separate`; `densities`, comparable between kinds, serves `pools=joint`.

    Attributes:
        compares_kinds: whether there are numbers that compare units of different kinds; without, `pools=joint` is refused.
    """

    compares_kinds: ClassVar[bool] = True

    @classmethod  # noqa: B027
    def check(cls, config: Any) -> None:
        """While composing: raise `UserError`, naming the keys, unless the criterion can work with this `RunConfig`."""

    @classmethod
    def has_densities(cls) -> bool:
        """Whether `pools=joint` may use it: it compares kinds, and says how."""
        return cls.compares_kinds and cls.densities is not Criterion.densities

    @abstractmethod
    def scores(self, scoring: Scoring) -> Scores:
        """One score per alive unit, comparable within a kind."""

    def densities(self, scoring: Scoring) -> Scores:
        """One number per alive unit, comparable between kinds; a criterion that `compares_kinds` has this."""
        raise NotImplementedError(f"{type(self).__name__} says that it compares kinds, and has no densities")


def sum_units(tensor: Tensor) -> Tensor:
    """Sum over everything but dimension 0, the unit."""
    return tensor.flatten(1).sum(1)


def sum_parts(parts: Iterable[Part], function: Callable[[Tensor], Tensor]) -> Tensor:
    """Σ function(w) over the given parts of each unit."""
    import torch

    return torch.stack([sum_units(function(part.tensor)) for part in parts]).sum(0)
