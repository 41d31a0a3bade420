"""What every method's configuration says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, field_validator

from prune.architectures.group import Structure
from prune.base.registries import CRITERIA
from prune.base.section import Section
from prune.pruning.schedule import ScheduleOptions

BlockRates = Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)]
"""Relative rates, one a block."""


class CommonOptions(Section):
    """What the options of every method tell, be it one method or several that take turns."""

    name: str

    @property
    def parts(self) -> tuple[MethodOptions, ...]:
        """The options of the methods that take turns; of a method that acts in all states, its own."""
        raise NotImplementedError

    def with_parts(self, change: Callable[[MethodOptions], MethodOptions]) -> CommonOptions:
        """The same with each of `parts` changed."""
        raise NotImplementedError

    def in_state(self, state: int) -> MethodOptions:
        """The options that hold in a state."""
        raise NotImplementedError

    def epochs(self, schedule: ScheduleOptions, state: int) -> int:
        """Epochs of a state. A method that has others than the schedule's says so here; state 0's are the same for all."""
        return schedule.epochs_of(state)

    @property
    def rewind_points(self) -> tuple[str, ...]:
        """The points of state 0 that the run may rewind to, as `rewind` writes them: it keeps these."""
        return tuple(dict.fromkeys(point for part in self.parts for point in part.rewind_points))

    @property
    def prunes(self) -> bool:
        """Whether anything is removed at all."""
        return any(part.prunes for part in self.parts)


class MethodOptions(CommonOptions):
    """Keys that all pruning methods share; a method adds its own in a subclass, of this class or of `ScoredOptions`."""

    scope: Literal["global", "layer", "sensitivity"] = Field(
        "global", description="who decides how much each block loses: one list of all scores, its width, or the loss without it"
    )
    block_rates: BlockRates | dict[str, BlockRates] | None = Field(
        None, description="relative rates by block, or by kind and block, scaled to meet the state's rate; null: scope decides"
    )
    pools: Literal["separate", "joint"] = Field("separate", description="rank each kind of unit by itself, or all together")
    targets: Literal["all"] | Annotated[list[str], Field(min_length=1)] = Field(
        "all", description="which kinds of unit are pruned"
    )
    min_per_block: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="units of each kind every block keeps at least"
    )
    rewind: str = Field("none", description="init | epoch:K | reinit | none: where the kept weights return to in each state")
    counts: str | None = Field(
        None,
        min_length=1,
        description="a finished run, or a sweep's folder: each group keeps as many units as it did; null: none",
    )

    @field_validator("rewind")
    @classmethod
    def _rewind_form(cls, value: str) -> str:
        if not re.fullmatch(r"init|reinit|none|epoch:\d+", value):
            raise ValueError("must be init, reinit, none or epoch:K (K an epoch of state 0)")
        return value

    @property
    def parts(self) -> tuple[MethodOptions, ...]:
        return (self,)

    def with_parts(self, change: Callable[[MethodOptions], MethodOptions]) -> CommonOptions:
        return change(self)

    def in_state(self, state: int) -> MethodOptions:
        return self

    @property
    def rewind_points(self) -> tuple[str, ...]:
        return () if self.rewind in ("none", "reinit") else (self.rewind,)

    @property
    def prunes(self) -> bool:
        return True

    @property
    def fillback(self) -> float:
        """Share of the units that would go and are kept as well (Refill+)."""
        return 0.0

    @property
    def compares_kinds(self) -> bool:
        """Whether scores of different kinds are compared, so that they must be densities."""
        return self.pools == "joint" and self.scope != "sensitivity"

    def kinds(self, structure: Structure) -> tuple[str, ...]:
        """The kinds of unit that `targets` names, in the structure's order; those that it does not have come last."""
        if self.targets == "all":
            return structure.kinds
        return tuple(sorted(dict.fromkeys(self.targets), key=lambda kind: (*structure.kinds, kind).index(kind)))


class ScoredOptions(MethodOptions):
    """The options of a method that scores units by a criterion (`state.score()`)."""

    criterion: str = Field("magnitude", description="how units are scored")
    calibration_batches: int = Field(8, ge=1, le=100_000, description="training batches for criteria that need data")

    @field_validator("criterion")
    @classmethod
    def _criterion_known(cls, value: str) -> str:
        if value not in CRITERIA:
            raise ValueError(f"must be one of {', '.join(CRITERIA.names())}")
        return value


def rewind_epoch(point: str) -> int | None:
    """K of `epoch:K`, else None."""
    return int(point.removeprefix("epoch:")) if point.startswith("epoch:") else None


def rewind_name(point: str) -> str:
    """How a rewind point is called in the name of its file: `init`, `epoch-003`."""
    epoch = rewind_epoch(point)
    return point if epoch is None else f"epoch-{epoch:03d}"
