"""What one state may keep. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prune.architectures.group import Measure, Structure
from prune.pruning.schedule import number_kept


@dataclass(frozen=True)
class KindBudget:
    """One kind of unit in one state.

    Attributes:
        rate: p_s, of this kind, since the start of the run; 0 for one that nothing has removed.
        units: of the dense model.
        kept: how many stay. Where a budget measures parameters or MACs: about how many; exact where all units of a kind cost
            the same, and each kind has a list of removals of its own.
        floor: how many each block keeps at least.
        left_alone: the method of this state removes none of them, whatever another has removed before.
    """

    rate: float
    units: int
    kept: int
    floor: int
    left_alone: bool = False

    @property
    def removed_without_fillback(self) -> int:
        return self.units - number_kept(self.rate, self.units)


@dataclass(frozen=True)
class StateBudget:
    """What state s may keep.

    Attributes:
        rate: p_s of `schedule.target` (or of `schedule.rates`).
        kinds: what each kind may keep.
        fillback: share of the units to go that stays after all.
        measure: what the rate is a fraction of: units of each kind, or the whole model's parameters or MACs.
        limit: parameters or MACs that the whole model may have; None where the rate is one of units.
        shares: kind → a weight for each of its groups, where a kind's units go in proportion to these; None where the scores
            of all blocks are compared.
        quotas: group → how many of its units stay, where that is settled beforehand and scores say only which ones; else None.
    """

    rate: float
    kinds: Mapping[str, KindBudget]
    fillback: float = 0.0
    measure: Measure = "units"
    limit: int | None = None
    shares: Mapping[str, Sequence[float]] | None = None
    quotas: Mapping[str, int] | None = None

    @property
    def rates(self) -> dict[str, float]:
        """Kind → its p_s: 0 for one that nothing has removed, another than `rate` for one that has a target of its own."""
        return {kind: budget.rate for kind, budget in self.kinds.items()}

    @property
    def kept(self) -> dict[str, int]:
        """Kind → units that stay."""
        return {kind: budget.kept for kind, budget in self.kinds.items()}

    @property
    def pruned(self) -> tuple[str, ...]:
        """The kinds that lose units in this state."""
        return tuple(kind for kind, budget in self.kinds.items() if budget.rate > 0 and not budget.left_alone)

    def macs(self, structure: Structure) -> int:
        """Multiply-accumulates of one image of what stays: exact with `quotas`, or where the numbers kept are exact and all
        units of a kind cost the same."""
        return structure.usual_macs(self.kept) if self.quotas is None else structure.macs(self.quotas)
