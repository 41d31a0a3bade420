"""How long a sweep will take, told once its first epochs have shown it, where the plan could not say."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from prune.config.schema import RunConfig
from prune.sweep.hours import Speeds, judged_by
from prune.sweep.plan import PlannedCell, make_plan

log = logging.getLogger(__name__)


class Estimate:
    """Call it whenever an epoch has ended: at the first one that tells, it logs the hours of all that is left.

    Args:
        configs: the cells.
        unknown: those whose hours the plan could not say; default: all. Without any there is nothing left to say.
    """

    def __init__(self, configs: Sequence[RunConfig], unknown: Sequence[RunConfig] | None = None):
        self.configs = list(configs)
        # Asked after each epoch: one of those that the same runs tell.
        self.unknown = list({judged_by(config): config for config in (configs if unknown is None else unknown)}.values())

    @classmethod
    def after(cls, plan: Sequence[PlannedCell]) -> Estimate:
        """Of a sweep that was planned."""
        return cls([cell.config for cell in plan], [cell.config for cell in plan if cell.hours is None])

    def __call__(self) -> None:
        if not self.unknown:
            return
        # A plan looks at every cell's directory; whether an epoch has told anything, a few speeds say.
        speeds = {outputs: Speeds(Path(outputs)) for outputs in {config.outputs for config in self.unknown}}
        self.unknown = [config for config in self.unknown if speeds[config.outputs].of(config) is None]
        if self.unknown:
            return
        cells = make_plan(self.configs)
        sources = ", ".join(dict.fromkeys(cell.speed for cell in cells if cell.speed))
        log.info("to compute, in all: about %.2g hours, %s", sum(cell.hours or 0.0 for cell in cells), sources)
