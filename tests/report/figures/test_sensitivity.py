"""The figure of sensitivity curves: what it says, and that it is there only where there are curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prune.report.figures.sensitivity import curves
from prune.report.load import load
from prune.report.run import Variant
from tests.report.figures.texts import drawing
from tests.report.sweep import configuration, state_line, structure_of, write_run


def variant_of(folder: Path, states: list[int]) -> Variant:
    """A run of three states that measured curves in some of them."""
    config = configuration(method="refill")
    curve = {"units": [0, 1, 2], "loss": [0.5, 0.6, 1.5]}
    measured = {name: curve for name in structure_of(config).dense if name != "blocks.2.attn"}
    lines = [state_line(config, s, 80.0, **({"sensitivity": measured} if s in states else {})) for s in range(3)]
    write_run(folder, config, lines)
    (variant,) = load([folder], "dense").variants
    return variant


@pytest.mark.usefixtures("kept")
def test_it_shows_the_first_and_the_last_state_and_says_what_is_drawn(tmp_path: Path) -> None:
    canvas: Any = curves(variant_of(tmp_path, [1, 2]), "digits-refill")
    panels = canvas.figure.axes[:4]
    assert [axes.get_title() for axes in panels] == [
        "heads, state 1", "neurons, state 1", "heads, state 2", "neurons, state 2",
    ]  # fmt: skip
    assert [len(axes.lines) for axes in panels] == [3, 4, 3, 4]  # a block's heads cannot go
    (line, *_) = panels[0].lines
    assert line.get_xdata().tolist() == [0, 50, 100]
    assert line.get_ydata() == pytest.approx([0, 0.1, 1.0])
    assert panels[2].get_ylabel() == "added loss" and panels[3].get_xlabel().endswith("(%)")
    assert [label.get_text() for label in canvas.figure.axes[-1].get_yticklabels()] == ["0", "1", "2", "3"]
    assert "R1, seed 0" in canvas.caption
    drawn = drawing(canvas.figure)
    assert (drawn.cut(), drawn.overlapping()) == ([], [])


def test_without_curves_there_is_none(tmp_path: Path) -> None:
    assert curves(variant_of(tmp_path, []), "digits-refill") is None
