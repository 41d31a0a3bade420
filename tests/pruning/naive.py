"""Rankings that remove the worst unit, again and again, by looking at all of them; and structures to rank."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import torch

from prune.architectures.group import Group, Member, Structure
from prune.pruning.budget import KindBudget, StateBudget
from prune.pruning.keepset import KeepSet
from prune.pruning.quotas import in_turn
from prune.pruning.ranking import Scores
from prune.pruning.schedule import number_kept
from tests.architectures.vits import MICRO, TINY, Shape


def made_up(*groups: tuple[int, str, int, int]) -> Structure:
    """A structure of (block, kind, units, parameters of one unit)."""
    return Structure(
        tuple(
            Group(f"{block}.{kind}", kind, block, count, macs=1, members=(Member(f"{block}.{kind}.w", 0, size, "makes"),))
            for block, kind, count, size in groups
        ),
        fixed_parameters=1000,
        fixed_macs=1000,
    )


FEW_BLOCKS = Shape((8, 8), 4, channels=1, classes=2, embed_dim=8, depth=2, num_heads=4, mlp_hidden=9)
STRUCTURES = {
    "micro": MICRO.structure,
    "tiny": TINY.structure,
    "few blocks": FEW_BLOCKS.structure,
    "blocks that widen": made_up(
        (0, "heads", 2, 30), (0, "neurons", 8, 5), (1, "heads", 4, 50), (1, "neurons", 16, 9), (2, "heads", 7, 90),
        (2, "neurons", 30, 17),
    ),
    "three kinds": made_up((0, "heads", 4, 25), (0, "neurons", 9, 7), (1, "channels", 12, 11), (1, "neurons", 5, 13)),
    "blocks that narrow": made_up((0, "channels", 11, 3), (1, "channels", 6, 8), (2, "channels", 2, 21)),
}  # fmt: skip
"""Plain ViTs; and blocks of different width whose units cost more in some blocks than in others."""


def spread(kept: int, sizes: Sequence[int], floor: int = 0, alive: Sequence[int] | None = None) -> list[int]:
    """What blocks keep that lose units in turn, in proportion to their sizes, until `kept` are left."""
    left = list(sizes if alive is None else alive)
    gone = [size - units for size, units in zip(sizes, left, strict=True)]
    for block in in_turn(sizes, gone, [units - floor for units in left])[: sum(left) - kept]:
        left[block] -= 1
    return left


Blocks = list[list[float]]
Units = list[list[int]]


def lists_of(keep: KeepSet, structure: Structure, kind: str) -> Units:
    """The units of a kind, block by block."""
    return [keep[group.name].tolist() for group in structure.of(kind)]


def by_kind(keep: KeepSet, structure: Structure) -> dict[str, Units]:
    return {kind: lists_of(keep, structure, kind) for kind in structure.kinds}


def draw_scores(alive: KeepSet, structure: Structure, draw: random.Random, ties: bool) -> dict[str, Blocks]:
    """Kind → scores of its alive units, block by block; with ties, a handful of values only."""

    def block(size: int) -> list[float]:
        return [float(draw.randint(0, 4)) if ties else draw.random() for _ in range(size)]

    return {kind: [block(len(units)) for units in lists_of(alive, structure, kind)] for kind in structure.kinds}


def as_scores(scores: dict[str, Blocks], structure: Structure) -> Scores:
    return {
        group.name: torch.tensor(block, dtype=torch.float64)
        for kind, blocks in scores.items()
        for group, block in zip(structure.of(kind), blocks, strict=True)
    }


def budget_of(structure: Structure, rate: float, floor: int | str, fillback: float = 0.0) -> StateBudget:
    """The state's budget, floors limited to what the number kept allows."""

    def of(kind: str) -> KindBudget:
        sizes = [group.count for group in structure.of(kind)]
        kept = number_kept(rate, sum(sizes), fillback)
        allowed = min(kept // len(sizes), *sizes)
        return KindBudget(rate, sum(sizes), kept, min(1, allowed) if floor == "auto" else min(int(floor), allowed))

    return StateBudget(rate, {kind: of(kind) for kind in structure.kinds}, fillback)


def worst_first(blocks: Blocks, alive: Units) -> list[tuple[float, int, int]]:
    """(score, block, index), the first to go first: small scores, and among equals the larger (block, index)."""
    listed = [
        (score, block, unit)
        for block, (scores, units) in enumerate(zip(blocks, alive, strict=True))
        for score, unit in zip(scores, units, strict=True)
    ]
    return sorted(listed, key=lambda entry: (entry[0], -entry[1], -entry[2]))


def naive_global(blocks: Blocks, alive: Units, sizes: Sequence[int], budget: KindBudget) -> Units:
    left = [list(units) for units in alive]
    for _, block, unit in worst_first(blocks, alive):
        if sum(map(len, left)) > budget.kept and len(left[block]) > budget.floor:
            left[block].remove(unit)
    return left


def naive_layer(blocks: Blocks, alive: Units, sizes: Sequence[int], budget: KindBudget) -> Units:
    """Each block's best, as many as it has seats: floors first, then one by one to the largest size / (2·seats + 1)."""
    seats = [budget.floor] * len(sizes)
    while sum(seats) < budget.kept:
        claims = [
            Fraction(size, 2 * held + 1) if held < size else Fraction(-1) for size, held in zip(sizes, seats, strict=True)
        ]
        seats[claims.index(max(claims))] += 1
    result = []
    for scores, units, quota in zip(blocks, alive, seats, strict=True):
        best = sorted(zip(scores, units, strict=True), key=lambda entry: (-entry[0], entry[1]))[:quota]
        result.append(sorted(unit for _, unit in best))
    return result


NAIVE = {"global": naive_global, "layer": naive_layer}


def cost(group: Group) -> int:
    return sum(member.size for member in group.members)


def allowed_by_budget(budget: StateBudget, structure: Structure) -> Fraction:
    """Parameters: what separate ranking would remove, in whole parameters a kind, times (1 - fillback), in exact fractions.

    Where a kind's units cost more in some blocks, each counts as much as they do on average.
    """
    full = 0
    for kind in structure.kinds:
        units = [cost(group) for group in structure.of(kind) for _ in range(group.count)]
        full += int(Fraction(sum(units), len(units)) * (len(units) - number_kept(budget.rate, len(units))))
    return Fraction(full) * (1 - Fraction(str(budget.fillback)))


def parameters_gone(keep: KeepSet, structure: Structure) -> int:
    return sum((group.count - len(keep[group.name])) * cost(group) for group in structure.groups)


def naive_joint(
    scores: dict[str, Blocks], alive: KeepSet, budget: StateBudget, structure: Structure
) -> tuple[dict[str, Units], Fraction]:
    """Remove the worst by density until the next does not fit, passing over those that a floor protects.

    Returns what is left, and how much of the budget.
    """
    left = {kind: lists_of(alive, structure, kind) for kind in structure.kinds}
    allowed = allowed_by_budget(budget, structure) - parameters_gone(alive, structure)
    listed = [(kind, *entry) for kind in structure.kinds for entry in worst_first(scores[kind], left[kind])]
    listed.sort(key=lambda entry: (entry[1], -structure.kinds.index(entry[0])))  # stable: later kinds first among equals
    for kind, _, block, unit in listed:
        if len(left[kind][block]) <= budget.kinds[kind].floor:
            continue
        price = cost(structure.of(kind)[block])
        if price > allowed:
            break
        allowed -= price
        left[kind][block].remove(unit)
    return left, allowed
