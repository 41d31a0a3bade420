"""A broad sweep: ten configurations with long names, five seeds each, sixteen states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.report.sweep import configuration, length, realistic_run

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dense", {}),
    *(("refill", {"criterion": c, "scope": s}) for c in ("magnitude", "remaining_count", "group_magnitude")
      for s in ("global", "layer")),
    *(("rsst", {"criterion": c, "penalty": {"schedule": "exp_custom_exponents", "ceiling": p}})
      for c, p in (("magnitude", 1.0), ("taylor", 1.0), ("group_magnitude", 0.5))),
)  # fmt: skip
"""Method and the keys in which its configurations differ."""

LEVEL = 53.6


def broad(sweep: Path, variants: int = 10, seeds: int = 5, states: int = 16, epochs: int = 12, blocks: int = 12) -> None:
    """The first so many of `VARIANTS`."""
    model = {"model__depth": blocks, "model__embed_dim": 48, "model__num_heads": 6}
    for number, (method, keys) in enumerate(VARIANTS[:variants]):
        for seed in range(seeds):
            config = configuration("cifar100", method, seed, **length(states, epochs), **model)
            config["method"] |= keys
            realistic_run(sweep, config, LEVEL, name=str(number))
