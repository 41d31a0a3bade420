"""A family of models with one kind of unit, in blocks that differ in width: nothing in the report may need more. No torch."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from prune.architectures.base import Architecture, ModelOptions
from prune.architectures.group import Group, Member, Structure

if TYPE_CHECKING:
    from torch import nn

MODEL: dict[str, Any] = {
    "family": "pyramid", "name": "custom", "pretrained": False, "widths": [40, 24, 10], "features": [16, 12, 8, 4],
}  # fmt: skip
"""A configuration's `model` section, once "pyramid" is registered."""


class PyramidOptions(ModelOptions):
    widths: tuple[int, ...]
    features: tuple[int, ...]


class Pyramid(Architecture):
    """Block b maps features[b] values to widths[b] neurons, these to features[b + 1] values; a classifier reads the last."""

    Options = PyramidOptions
    options: PyramidOptions

    @cached_property
    def structure(self) -> Structure:
        features, last = self.options.features, self.options.features[-1]
        return Structure(
            groups=tuple(self._neurons(block, width) for block, width in enumerate(self.options.widths)),
            fixed_parameters=sum(features[1:]) + (last + 1) * self.classes,
            fixed_macs=last * self.classes,
        )

    def _neurons(self, block: int, width: int) -> Group:
        name, before, after = f"blocks.{block}", *self.options.features[block : block + 2]
        return Group(
            name, "neurons", block, width,
            macs=before + after,
            members=(
                Member(f"{name}.up.weight", 0, before, "makes"),
                Member(f"{name}.up.bias", 0, 1, "makes", matrix=False),
                Member(f"{name}.down.weight", 1, after, "reads"),
            ),
        )  # fmt: skip

    def create(self) -> nn.Module:
        raise NotImplementedError("the report builds no model")
