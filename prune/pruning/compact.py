"""Units that go: cut away, so that the model is smaller; or silenced for a while, so that it computes as if it were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from prune.architectures.base import Architecture
from prune.architectures.build import fit_attributes, replace_parameter
from prune.architectures.group import Structure
from prune.pruning.keepset import KeepSet
from prune.pruning.slices import unit_slices


def compact(model: nn.Module, architecture: Architecture, alive: KeepSet, keep: KeepSet) -> None:
    """Remove from `model`, whose units are `alive`, all that are not in `keep`. In place, by slicing.

    The sliced parameters are new objects, so an optimiser must be rebuilt (see `prune.engine.optim.slice_state`).
    A block that loses a whole branch keeps that branch's output bias, as the masked model does.
    """
    with torch.no_grad():
        for units in unit_slices(architecture.structure, alive, keep):
            name = units.member.tensor
            replace_parameter(model, name, units.of(model.get_parameter(name)))
    fit_attributes(architecture, model, keep.counts())


@contextmanager
def silenced(model: nn.Module, structure: Structure, alive: KeepSet, keep: KeepSet) -> Iterator[None]:
    """Within this context the units of `alive` that are not in `keep` contribute nothing; afterwards all is as before.

    Zeroing all that reads a unit silences it exactly, whatever its own weights are.
    """
    slices = [units for units in unit_slices(structure, alive, alive.without(keep)) if units.member.role == "reads"]
    readers = [(model.get_parameter(units.member.tensor), units) for units in slices]
    saved = [units.of(reader.detach()) for reader, units in readers]
    with torch.no_grad():
        for reader, units in readers:
            reader.index_fill_(units.member.dim, units.index.to(reader.device), 0.0)
    try:
        yield
    finally:
        with torch.no_grad():
            for (reader, units), entries in zip(readers, saved, strict=True):
                reader.index_copy_(units.member.dim, units.index.to(reader.device), entries)
