"""No text in a figure is cut, and none covers another."""

from __future__ import annotations

import pytest

from prune.report.figures.fit import width, wrap
from tests.report.broad import VARIANTS, broad_report


def test_no_text_of_a_broad_sweep_is_cut_or_covered() -> None:
    figures = broad_report().figures
    assert len(figures) == 11 + len(VARIANTS) - 1
    assert max(len(text) for figure in figures for text, _ in figure.texts) > 100
    assert [figure.cut() for figure in figures] == [[]] * len(figures)
    assert [figure.overlapping() for figure in figures] == [[]] * len(figures)


def test_names_break_between_their_keys() -> None:
    name = "refill · criterion=group_magnitude, scope=global (5 runs)"
    for inches in (2.1, 2.4, 3.2, 10):
        lines = wrap(name, inches, 8.5).split("\n")
        assert all(width(line, 8.5) <= inches for line in lines)
        assert " ".join(lines) == name
        assert all(line.endswith(("·", ",", ")", "scope=global")) for line in lines), lines
    assert wrap(name, 10, 8.5) == name


def test_a_word_that_is_wider_than_a_line_is_broken_anywhere() -> None:
    word = "root=" + "x" * 300
    lines = wrap(f"refill · {word}", 2.0, 8.5).split("\n")
    assert all(width(line, 8.5) <= 2.0 for line in lines)
    assert "".join(lines) == f"refill ·{word}"


@pytest.mark.parametrize("size", [8.5, 11])
def test_the_width_is_that_of_the_drawn_text(size: float) -> None:
    from matplotlib.figure import Figure

    figure = Figure(dpi=1000)
    text = figure.text(0, 0, "criterion=group_magnitude", fontsize=size, family="DejaVu Sans")
    assert width("criterion=group_magnitude", size) == pytest.approx(text.get_window_extent().width / 1000, rel=0.01)


def test_a_dollar_and_a_line_end_are_text() -> None:
    assert wrap("a=$x$\n", 5, 8.5) == "a=$x$\\n"
