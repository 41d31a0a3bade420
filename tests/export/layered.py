"""A family that shares nothing with the ViTs: residual MLPs of different widths, and tables that no checkpoint holds.

For the tests of what rebuilds and exports models: a plug-in, as another package would bring it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from prune.architectures.base import Architecture, ModelOptions
from prune.architectures.group import Group, Member, Structure


class Layer(nn.Module):
    """dim → width → dim."""

    def __init__(self, dim: int, width: int, bias: bool):
        super().__init__()
        self.up, self.down = nn.Linear(dim, width), nn.Linear(width, dim, bias=bias)
        self.width = width

    def forward(self, tokens: Tensor) -> Tensor:
        assert self.up.out_features == self.down.in_features == self.width
        return self.down(torch.relu(self.up(tokens)))


class LayeredNet(nn.Module):
    """Pixels in a fixed order, an embedding scaled by fixed gains, residual layers; the last ones have no output bias."""

    order: Tensor
    gains: Tensor

    def __init__(self, pixels: int, dim: int, widths: list[int], classes: int):
        super().__init__()
        self.register_buffer("order", torch.arange(pixels - 1, -1, -1), persistent=False)
        self.register_buffer("gains", 1 + torch.rand(dim, generator=torch.Generator().manual_seed(0)), persistent=False)
        self.register_buffer("offset", torch.zeros(dim))
        self.embed = nn.Linear(pixels, dim)
        self.layers = nn.ModuleList(Layer(dim, width, bias=number < 2) for number, width in enumerate(widths))
        self.fc = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images.flatten(1)[:, self.order]) * self.gains + self.offset
        for layer in self.layers:
            tokens = tokens + layer(tokens)
        return self.fc(tokens)


class LayeredOptions(ModelOptions):
    dim: int
    widths: list[int]


class Layered(Architecture):
    Options = LayeredOptions
    options: LayeredOptions
    classifier = ("fc.",)

    @cached_property
    def structure(self) -> Structure:
        dim, pixels = self.options.dim, self.channels * self.image_size[0] * self.image_size[1]
        output_biases = dim * len(self.options.widths[:2])
        return Structure(
            tuple(
                Group(
                    name := f"layers.{number}", "hidden", number, width, 2 * dim,
                    (
                        Member(f"{name}.up.weight", 0, dim, "makes"),
                        Member(f"{name}.up.bias", 0, 1, "makes", matrix=False),
                        Member(f"{name}.down.weight", 1, dim, "reads"),
                    ),
                )
                for number, width in enumerate(self.options.widths)
            ),
            (pixels + 1) * dim + output_biases + (dim + 1) * self.classes,
            pixels * dim + dim * self.classes,
        )  # fmt: skip

    def create(self) -> nn.Module:
        pixels = self.channels * self.image_size[0] * self.image_size[1]
        return LayeredNet(pixels, self.options.dim, self.options.widths, self.classes)

    def resize(self, model: nn.Module, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            layer: Any = model.get_submodule(name)
            layer.width = count
