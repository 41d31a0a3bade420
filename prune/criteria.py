"""The criteria by name. Their code, which needs torch, is in prune/scores.py."""

from __future__ import annotations

from prune.registry import Registry

CRITERIA = Registry(
    "method.criterion",
    "prune.criteria",
    {
        "magnitude": "prune.scores:Magnitude",
        "group_magnitude": "prune.scores:GroupMagnitude",
        "remaining": "prune.scores:Remaining",
        "remaining_count": "prune.scores:RemainingCount",
        "taylor": "prune.scores:Taylor",
        "activation": "prune.scores:Activation",
        "random": "prune.scores:Random",
    },
)
