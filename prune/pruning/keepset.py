"""The units alive: group → original indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from prune.architectures.group import Structure


class KeepSet(Mapping[str, Tensor]):
    """The units alive: for each group, by its name, the original indices kept, ascending (int64 tensors on the CPU)."""

    def __init__(self, units: Mapping[str, Tensor]):
        self._units = dict(units)

    @classmethod
    def dense(cls, structure: Structure) -> KeepSet:
        """Everything alive."""
        return cls({group.name: torch.arange(group.count) for group in structure.groups})

    @classmethod
    def from_lists(cls, units: Mapping[str, Sequence[int]]) -> KeepSet:
        """From plain lists, as files hold them."""
        return cls({name: torch.tensor(indices, dtype=torch.int64) for name, indices in units.items()})

    def to_lists(self) -> dict[str, list[int]]:
        """Group → indices as a plain list."""
        return {name: indices.tolist() for name, indices in self.items()}

    def counts(self) -> dict[str, int]:
        """Group → units alive."""
        return {name: len(indices) for name, indices in self.items()}

    def without(self, keep: KeepSet) -> KeepSet:
        """The units that are not in `keep`."""
        return KeepSet({name: indices[~torch.isin(indices, keep[name])] for name, indices in self.items()})

    def __getitem__(self, group: str) -> Tensor:
        return self._units[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self._units)

    def __len__(self) -> int:
        return len(self._units)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeepSet) and self.to_lists() == other.to_lists()

    def __repr__(self) -> str:
        return f"KeepSet({self.to_lists()})"
