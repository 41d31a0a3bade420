"""How long a sweep will take, told once its first epochs have shown it, where the plan could not say."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from prune.config.schema import RunConfig
from prune.sweep.plan import PlannedCell, make_plan

log = logging.getLogger(__name__)


class Estimate:
    """Call it whenever an epoch has ended: at the first one that tells, it logs the hours of all that is left.

    Args:
        configs: the cells.
        due: whether there is anything left to say; not where the plan knew every cell's hours.
    """

    def __init__(self, configs: Sequence[RunConfig], due: bool = True):
        self.configs, self.due = list(configs), due

    @classmethod
    def after(cls, plan: Sequence[PlannedCell]) -> Estimate:
        """Of a sweep that was planned."""
        return cls([cell.config for cell in plan], any(cell.hours is None for cell in plan))

    def __call__(self) -> None:
        if not self.due:
            return
        cells = make_plan(self.configs)
        known = [cell.hours for cell in cells if cell.hours is not None]
        if len(known) < len(cells):
            return
        self.due = False
        sources = ", ".join(dict.fromkeys(cell.speed for cell in cells if cell.speed))
        log.info("to compute, in all: about %.2g hours, %s", sum(known), sources)
