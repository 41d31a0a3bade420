"""Models in one picture: the lines that the table at equal size is read off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prune.report.figures.models import by_size
from prune.report.figures.style import Style
from tests.report.handmade import analyse
from tests.report.sweep import configuration, state_line, write_flat

VALUES = [75.0, 71.0, 73.0, 69.0]


@pytest.mark.usefixtures("kept")
def test_a_line_a_configuration_coloured_by_model_and_dashed_by_method(tmp_path: Path) -> None:
    for method in ("refill", "rsst"):
        for depth in (4, 3):
            write_flat(tmp_path, method, {0: [value - depth for value in VALUES]}, model__depth=depth)
    findings = analyse(tmp_path)
    canvas: Any = by_size(findings, Style(findings.study), "digits")
    axes = canvas.figure.axes[0]
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == len(VALUES) and line.get_marker() in "os"]
    assert len(lines) == 4
    looks = {(line.get_color(), str(line.get_linestyle())) for line in lines}
    assert len(looks) == 4
    assert len({colour for colour, _ in looks}) == len({dash for _, dash in looks}) == 2
    for depth in (4, 3):
        config = configuration(model__depth=depth, schedule__states=4)
        sizes = [state_line(config, state, 0.0)["parameters"] / 1e3 for state in range(4)]
        drawn = [line for line in lines if list(line.get_xdata()) == pytest.approx(sizes)]
        assert [list(line.get_ydata()) for line in drawn] == [[value - depth for value in VALUES]] * 2
    assert [text.get_text() for text in canvas.figure.legends[0].get_texts()] == [
        "vit · depth=3", "vit · depth=4", "refill", "rsst", "Pareto front (validation)",
    ]  # fmt: skip


@pytest.mark.usefixtures("kept")
def test_one_model_needs_none(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: VALUES})
    findings = analyse(tmp_path)
    assert by_size(findings, Style(findings.study), "digits") is None
