"""What every method's configuration says."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from prune.architectures.group import Structure
from prune.base.registries import CRITERIA
from prune.base.section import Section


class MethodOptions(Section):
    """Keys that all pruning methods share; a method adds its own in a subclass."""

    name: str
    criterion: str = Field("magnitude", description="how units are scored")
    scope: Literal["global", "layer"] = Field("global", description="rank all blocks in one list, or each by itself")
    pools: Literal["separate", "joint"] = Field("separate", description="rank each kind of unit by itself, or all together")
    targets: Literal["all"] | list[str] = Field("all", description="which kinds of unit are pruned")
    min_per_block: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="units of each kind every block keeps at least"
    )
    calibration_batches: int = Field(8, ge=1, description="training batches for criteria that need data")
    rewind: str = Field("none", description="init | epoch:K | none: where the kept weights return to in each state")

    @field_validator("criterion")
    @classmethod
    def _criterion_known(cls, value: str) -> str:
        if value not in CRITERIA:
            raise ValueError(f"must be one of {', '.join(CRITERIA.names())}")
        return value

    @field_validator("rewind")
    @classmethod
    def _rewind_form(cls, value: str) -> str:
        if not re.fullmatch(r"init|none|epoch:\d+", value):
            raise ValueError("must be init, none or epoch:K (K an epoch of state 0)")
        return value

    @property
    def rewind_epoch(self) -> int | None:
        """K of `rewind: epoch:K`, else None."""
        return int(self.rewind.split(":")[1]) if self.rewind.startswith("epoch:") else None

    @property
    def rewind_point(self) -> str | None:
        """The name of the point that `rewind` returns to (see `prune.rundir.rewind`), if to any."""
        return {"init": "init", "none": None}.get(self.rewind, f"epoch-{self.rewind_epoch or 0:03d}")

    @property
    def prunes(self) -> bool:
        """Whether the method removes anything at all."""
        return True

    @property
    def fillback(self) -> float:
        """Share of the units that would go and are kept as well (Refill+)."""
        return 0.0

    def kinds(self, structure: Structure) -> tuple[str, ...]:
        """The kinds of unit that `targets` names, in the structure's order; those that it does not have come last."""
        if self.targets == "all":
            return structure.kinds
        return tuple(sorted(dict.fromkeys(self.targets), key=lambda kind: (*structure.kinds, kind).index(kind)))
