"""Where the units of a model are, and what they cost. Everything that touches units goes through this. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

FORWARD_FLOPS_PER_MAC = 2
"""A multiplication and an addition."""

TRAINING_FLOPS_PER_MAC = 3 * FORWARD_FLOPS_PER_MAC
"""The backward pass takes two products for each of the forward pass."""

Role = Literal["makes", "reads", "between"]

Measure = Literal["units", "parameters", "macs"]

MEASURED: dict[str, str] = {"units": "units", "parameters": "parameters", "macs": "MACs"}
"""What a measure is called in a sentence."""


@dataclass(frozen=True)
class Member:
    """One tensor of which each unit of a group has a part, along one dimension.

    Attributes:
        tensor: its name in the model's state_dict (`blocks.3.attn.qkv.weight`).
        dim: the dimension along which the units lie.
        size: parameters that one unit has in it.
        role: it `makes` the unit's activation, `reads` it (a unit is silent once all its readers are zero there), or lies
            `between`.
        lanes: adjacent entries of one unit along `dim`: d_head for a head's rows of qkv.
        repeats: how often all the units lie there one after the other: 3 for q, k and v.
        matrix: whether these are a layer's weights, as opposed to a bias, a norm or a table.
    """

    tensor: str
    dim: int
    size: int
    role: Role
    lanes: int = 1
    repeats: int = 1
    matrix: bool = True

    @property
    def module(self) -> str:
        """The name of the module that has the tensor."""
        return self.tensor.rpartition(".")[0]


@dataclass(frozen=True)
class Group:
    """All units of one kind in one block.

    Attributes:
        name: the module that is made of them (`blocks.3.attn`). Without any unit, it gives its last reader's bias.
        kind: what its units are called, in the plural: `heads`, `neurons`.
        block: the block's number, counted from the input.
        count: units of the dense model.
        macs: multiply-accumulates of one unit in the forward pass of one image.
        members: every tensor of which a unit has a part.
    """

    name: str
    kind: str
    block: int
    count: int
    macs: int
    members: tuple[Member, ...]

    @cached_property
    def parameters(self) -> int:
        """Parameters of one unit."""
        return sum(member.size for member in self.members)

    @cached_property
    def weights(self) -> int:
        """Those of them that are in weight matrices."""
        return sum(member.size for member in self.members if member.matrix)

    def cost(self, measure: Measure) -> int:
        """What one unit is, by a measure: one unit, its parameters or its multiply-accumulates."""
        return {"units": 1, "parameters": self.parameters, "macs": self.macs}[measure]

    @property
    def readers(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.role == "reads")


@dataclass(frozen=True)
class Structure:
    """A dense model as pruning sees it.

    Attributes:
        groups: in the order of the blocks.
        fixed_parameters: parameters that no unit owns.
        fixed_macs: multiply-accumulates that no unit causes, in the forward pass of one image.
        labels: what a reader calls the blocks (`stage 2, block 3`), by their numbers; empty: the numbers.
    """

    groups: tuple[Group, ...]
    fixed_parameters: int
    fixed_macs: int
    labels: tuple[str, ...] = ()

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Every kind, in the order in which the first block has them."""
        return tuple(dict.fromkeys(group.kind for group in self.groups))

    def of(self, kind: str) -> tuple[Group, ...]:
        """The groups of a kind, in the order of the blocks."""
        return tuple(group for group in self.groups if group.kind == kind)

    def label(self, block: int) -> str:
        """What a reader calls a block."""
        return self.labels[block] if self.labels else str(block)

    def units(self, kind: str) -> int:
        """Units of a kind in the dense model."""
        return sum(group.count for group in self.of(kind))

    @cached_property
    def dense(self) -> dict[str, int]:
        """Group → units of the dense model."""
        return {group.name: group.count for group in self.groups}

    def by_kind(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Kind → units alive, of `counts` (group → units alive)."""
        return {kind: sum(counts[group.name] for group in self.of(kind)) for kind in self.kinds}

    def parameters(self, counts: Mapping[str, int] | None = None) -> int:
        """Parameters of the model whose groups have so many units (default: the dense model)."""
        return self.fixed_parameters + sum(self.parameters_by_kind(counts).values())

    def macs(self, counts: Mapping[str, int] | None = None) -> int:
        """Multiply-accumulates of one image's forward pass, every matrix product counted (default: the dense model).

        One MAC is two FLOPs; biases, norms, softmax and activations are not counted.
        """
        return self.fixed_macs + sum(self.macs_by_kind(counts).values())

    def size(self, measure: Measure, counts: Mapping[str, int] | None = None) -> int:
        """Units, parameters or multiply-accumulates, of the whole model whose groups have so many units (default: dense)."""
        fixed = {"units": 0, "parameters": self.fixed_parameters, "macs": self.fixed_macs}[measure]
        counts = self.dense if counts is None else counts
        return fixed + sum(counts[group.name] * group.cost(measure) for group in self.groups)

    def parameters_by_kind(self, counts: Mapping[str, int] | None = None) -> dict[str, int]:
        """Kind → parameters of its units; the rest are `fixed_parameters`."""
        counts = self.dense if counts is None else counts
        return {kind: sum(counts[group.name] * group.parameters for group in self.of(kind)) for kind in self.kinds}

    def macs_by_kind(self, counts: Mapping[str, int] | None = None) -> dict[str, int]:
        """Kind → multiply-accumulates of its units; the rest are `fixed_macs`."""
        counts = self.dense if counts is None else counts
        return {kind: sum(counts[group.name] * group.macs for group in self.of(kind)) for kind in self.kinds}

    def usual_parameters(self, kind: str, units: int) -> int:
        """Parameters of so many units of a kind: exact where all its units cost the same, else in proportion."""
        return self.parameters_by_kind()[kind] * units // self.units(kind)

    def usual_macs(self, kept: Mapping[str, int]) -> int:
        """As `macs`, when only the units kept of each kind are known: exact where all units of a kind cost the same."""
        return self.fixed_macs + sum(self.macs_by_kind()[kind] * kept[kind] // self.units(kind) for kind in self.kinds)

    @cached_property
    def even(self) -> bool:
        """Whether all units of a kind cost the same, so that the `usual_…` counts are exact."""
        return all(len({(group.parameters, group.macs) for group in self.of(kind)}) == 1 for kind in self.kinds)
