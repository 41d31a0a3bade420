"""Heads and neurons: which are alive, and where each unit's tensors are in a timm ViT.

A *head* h of block l owns the 3·d_head rows of `attn.qkv` (q, k and v; weight and bias) that make it and the d_head columns
of `attn.proj` that read it. A *neuron* j owns row j of `mlp.fc1` (weight and bias) and column j of `mlp.fc2`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from timm.models.vision_transformer import Block
from torch import Tensor

from prune.shape import ViTShape

Kind = Literal["heads", "neurons"]
KINDS: tuple[Kind, Kind] = ("heads", "neurons")


@dataclass(frozen=True, eq=False)
class KeepSet:
    """The units alive: per block, the original indices kept, ascending (int64 tensors on the CPU)."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]

    @classmethod
    def dense(cls, shape: ViTShape) -> KeepSet:
        """Everything alive."""
        return cls(
            tuple(torch.arange(shape.num_heads) for _ in range(shape.depth)),
            tuple(torch.arange(shape.mlp_hidden) for _ in range(shape.depth)),
        )

    @classmethod
    def from_lists(cls, heads: Sequence[Sequence[int]], neurons: Sequence[Sequence[int]]) -> KeepSet:
        """From plain lists, as `pruned.json` holds them."""
        return cls(
            tuple(torch.tensor(block, dtype=torch.int64) for block in heads),
            tuple(torch.tensor(block, dtype=torch.int64) for block in neurons),
        )

    def to_lists(self) -> dict[str, list[list[int]]]:
        """`{"heads": [[…], …], "neurons": [[…], …]}`, one inner list per block."""
        return {kind: [block.tolist() for block in self.of(kind)] for kind in KINDS}

    def of(self, kind: Kind) -> tuple[Tensor, ...]:
        return self.heads if kind == "heads" else self.neurons

    def counts(self, kind: Kind) -> list[int]:
        """Units alive in each block."""
        return [len(block) for block in self.of(kind)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeepSet) and self.to_lists() == other.to_lists()

    def __hash__(self) -> int:
        return hash(str(self.to_lists()))


@dataclass(frozen=True)
class Part:
    """One tensor of all the units of a kind in one block, the unit in dimension 0 (a view, not a copy)."""

    tensor: Tensor
    producer: bool  # makes the unit's activation (qkv, fc1), or reads it (proj, fc2)
    bias: bool


def parts(block: Block, kind: Kind, gradients: dict[int, Tensor] | None = None) -> list[Part]:
    """The tensors of the units of one block, as views with the unit first.

    Args:
        block: a block of a timm ViT, dense or compact.
        kind: heads or neurons.
        gradients: `id(parameter) → gradient`; if given, the views are of the gradients instead of the weights.

    Returns:
        For heads: qkv weight (h, 3, d, dim), qkv bias (h, 3, d), proj weight (h, d, dim).
        For neurons: fc1 weight (n, dim), fc1 bias (n), fc2 weight (n, dim).
    """

    def value(parameter: Tensor) -> Tensor:
        return parameter if gradients is None else gradients[id(parameter)]

    if kind == "heads":
        attn = block.attn
        heads, width = attn.num_heads, attn.head_dim
        weight, bias = value(attn.qkv.weight), value(attn.qkv.bias)
        reader = value(attn.proj.weight)
        return [
            Part(weight.view(3, heads, width, weight.shape[1]).transpose(0, 1), producer=True, bias=False),
            Part(bias.view(3, heads, width).transpose(0, 1), producer=True, bias=True),
            Part(reader.view(reader.shape[0], heads, width).permute(1, 2, 0), producer=False, bias=False),
        ]
    mlp = block.mlp
    return [
        Part(value(mlp.fc1.weight), producer=True, bias=False),
        Part(value(mlp.fc1.bias), producer=True, bias=True),
        Part(value(mlp.fc2.weight).t(), producer=False, bias=False),
    ]


@dataclass(frozen=True)
class Slice:
    """Which entries of one tensor, along its one unit dimension."""

    dim: int
    index: Tensor

    def of(self, tensor: Tensor) -> Tensor:
        return tensor.index_select(self.dim, self.index.to(tensor.device))


def unit_slices(alive: KeepSet, chosen: KeepSet, head_dim: int) -> Iterator[tuple[str, Slice]]:
    """For each tensor that holds units: its name in the model of `alive`, and where the units of `chosen` are in it.

    Every tensor is indexed along exactly one dimension, so the same slice serves weights, gradients, momenta and masks.
    `chosen` must be a subset of `alive`.
    """
    lanes = torch.arange(head_dim)
    for number in range(len(alive.heads)):
        heads = torch.searchsorted(alive.heads[number], chosen.heads[number])
        columns = (heads[:, None] * head_dim + lanes).flatten()
        width = len(alive.heads[number]) * head_dim
        rows = torch.cat([columns, columns + width, columns + 2 * width])
        neurons = torch.searchsorted(alive.neurons[number], chosen.neurons[number])
        block = f"blocks.{number}"
        yield f"{block}.attn.qkv.weight", Slice(0, rows)
        yield f"{block}.attn.qkv.bias", Slice(0, rows)
        yield f"{block}.attn.proj.weight", Slice(1, columns)
        yield f"{block}.mlp.fc1.weight", Slice(0, neurons)
        yield f"{block}.mlp.fc1.bias", Slice(0, neurons)
        yield f"{block}.mlp.fc2.weight", Slice(1, neurons)


def without(alive: KeepSet, keep: KeepSet) -> KeepSet:
    """The units of `alive` that are not in `keep`."""

    def rest(all_of: tuple[Tensor, ...], kept: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(have[~torch.isin(have, stay)] for have, stay in zip(all_of, kept, strict=True))

    return KeepSet(rest(alive.heads, keep.heads), rest(alive.neurons, keep.neurons))
