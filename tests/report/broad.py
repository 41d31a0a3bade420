"""A broad sweep: ten configurations with long names, five seeds each, sixteen states; and its report, made once."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from matplotlib.figure import Figure

from prune.cli import main
from prune.report.figures import style
from tests.report.figures.texts import Drawn, drawing
from tests.report.sweep import configuration, length, realistic_run

LONG = {"calibration_batches": 16, "min_per_block": 2, "pools": "joint", "rewind": "epoch:3"}

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dense", {}),
    *(("refill", {"criterion": criterion, "scope": scope, **more})
      for criterion, more in (("magnitude", {}), ("remaining_count", LONG), ("group_magnitude", LONG))
      for scope in ("global", "layer")),
    *(("rsst", {"criterion": criterion, "penalty": {"schedule": schedule, "ceiling": ceiling}})
      for criterion, schedule, ceiling in (("magnitude", "x^2", 1.0), ("taylor", "exp_custom", 1.0),
                                           ("group_magnitude", "exp_custom_exponents", 0.5))),
)  # fmt: skip
"""Method and the keys in which its configurations differ."""

LEVEL = 53.6


def broad(sweep: Path, variants: int = 10, seeds: int = 5, states: int = 16, epochs: int = 6, blocks: int = 12) -> None:
    """The first so many of `VARIANTS`."""
    model = {"model__depth": blocks, "model__embed_dim": 48, "model__num_heads": 6}
    for number, (method, keys) in enumerate(VARIANTS[:variants]):
        for seed in range(seeds):
            config = configuration("cifar100", method, seed, **length(states, epochs), **model)
            config["method"] |= keys
            realistic_run(sweep, config, LEVEL, name=str(number))


class Report(NamedTuple):
    """A report's folder, and every figure's text as it was drawn."""

    folder: Path
    figures: list[Drawn]


@functools.cache
def broad_report() -> Report:
    """The report of the whole broad sweep; made once in a test session, for it takes most of half a minute."""
    kept = tempfile.TemporaryDirectory(prefix="prune-report-")  # removed when the interpreter ends
    _KEPT.append(kept)
    figures: list[Drawn] = []
    lay_out = style.lay_out

    def noted(figure: Figure) -> None:
        lay_out(figure)
        figures.append(drawing(figure))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "lay_out", noted)
        broad(Path(kept.name) / "main")
        assert main(["report", str(Path(kept.name) / "main")]) == 0
    return Report(Path(kept.name) / "main" / "report", figures)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
