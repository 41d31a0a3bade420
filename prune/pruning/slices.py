"""Where units are in tensors: the one place that turns groups and indices into slices and views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from prune.architectures.group import Member, Structure
from prune.pruning.keepset import KeepSet


@dataclass(frozen=True)
class Slice:
    """Which entries of one tensor, along the dimension in which its units lie."""

    member: Member
    index: Tensor

    def of(self, tensor: Tensor) -> Tensor:
        """The entries, as a new tensor."""
        return tensor.index_select(self.member.dim, self.index.to(tensor.device))


def unit_slices(structure: Structure, alive: KeepSet, chosen: KeepSet) -> Iterator[Slice]:
    """For each tensor that holds units of a model of `alive`: where the units of `chosen`, a subset, are in it.

    Every tensor is indexed along exactly one dimension, so the same slice serves weights, gradients, momenta and masks.
    """
    for group in structure.groups:
        places = torch.searchsorted(alive[group.name], chosen[group.name])
        for member in group.members:
            yield Slice(member, _entries(member, places, len(alive[group.name])))


def _entries(member: Member, places: Tensor, alive: int) -> Tensor:
    """Entries along the member's dimension of the units at `places`, of `alive` that there are."""
    starts = torch.arange(member.repeats)[:, None] * alive + places
    return (starts.flatten()[:, None] * member.lanes + torch.arange(member.lanes)).flatten()


def slice_tensors(tensors: Mapping[str, Tensor], structure: Structure, alive: KeepSet, keep: KeepSet) -> dict[str, Tensor]:
    """The tensors of a model of `alive`, by name, cut down to `keep`; tensors without units pass as they are."""
    result = dict(tensors)
    for units in unit_slices(structure, alive, keep):
        name = units.member.tensor
        if name in result:
            result[name] = units.of(result[name])
    return result


def by_unit(tensor: Tensor, member: Member) -> Tensor:
    """A view of a member's tensor (or of its gradient) with the unit first: [units, repeats, lanes, all other dimensions]."""
    units = tensor.shape[member.dim] // (member.repeats * member.lanes)
    split = tensor.unflatten(member.dim, (member.repeats, units, member.lanes))
    return split.movedim((member.dim + 1, member.dim, member.dim + 2), (0, 1, 2))
