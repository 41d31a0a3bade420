"""Up to five variants share an axes; beyond that each has its own, with the others behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prune.report.figures import accuracy, pareto, training
from prune.report.figures.style import ALONE, BEHIND, DENSE_BEHIND, KNOWN_COLOURS, Style
from prune.report.findings import Findings
from prune.report.load import load
from tests.report.figures.texts import drawing
from tests.report.sweep import write_flat

FIGURES: dict[Callable[[Findings, Style, str], Any], int] = {
    accuracy.by_state: 1, accuracy.by_rate: 1, pareto.against_parameters: 1, pareto.against_macs: 1,
    training.curves: 2, training.within_states: 3, training.time: 1,
}  # fmt: skip
"""How many panels each has."""


def _findings(sweep: Path, variants: int) -> Findings:
    write_flat(sweep, "dense", {seed: [80.0, 81.0, 82.0] for seed in range(2)})
    for number in range(variants - 1):
        accuracies = {seed: [80.0, 80.5 - number / 10, 80.0 - number / 5 + seed] for seed in range(2)}
        write_flat(sweep, "refill", accuracies, method__fillback_rate=number / 100)
    return Findings(load([sweep], "dense"), "dense")


def _labelled(axes: Any) -> list[Any]:
    return [line for line in axes.get_lines() if line.get_label().endswith(" runs)") or line.get_label().startswith("refill")]


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("make", FIGURES, ids=lambda make: make.__name__)
def test_five_variants_share_each_panel(tmp_path: Path, make: Callable[..., Any]) -> None:
    findings = _findings(tmp_path, 5)
    canvas = make(findings, Style(findings.study), "digits")
    assert len(canvas.figure.axes) == FIGURES[make]
    for axes in canvas.figure.axes:
        assert {line.get_color() for line in axes.get_lines()} >= {
            Style(findings.study).colour(v) for v in findings.study.variants
        }
    assert "its own axes" not in canvas.caption
    (legend,) = canvas.figure.legends
    shown = {text.get_text().replace("\n", " ").split(" (")[0] for text in legend.get_texts()}
    assert shown - {"Pareto front"} == {variant.label for variant in findings.study.variants}


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("make", FIGURES, ids=lambda make: make.__name__)
def test_six_variants_have_an_axes_each_with_the_others_behind(tmp_path: Path, make: Callable[..., Any]) -> None:
    findings = _findings(tmp_path, 6)
    variants = findings.study.variants
    canvas = make(findings, Style(findings.study), "digits")
    panels = FIGURES[make]
    assert canvas.figure.legends == []
    assert len(canvas.figure.axes) == 6 * panels
    assert "Each configuration has its own axes" in canvas.caption
    for number, axes in enumerate(canvas.figure.axes):
        variant = variants[number // panels]
        if number % panels == 0:
            assert axes.get_title().replace("\n", " ").startswith(f"{variant.label} (2 runs)")
        behind = [line for line in axes.get_lines() if line.get_color() == BEHIND["color"]]
        dense = [line for line in axes.get_lines() if line.get_color() == DENSE_BEHIND["color"]]
        assert (len(behind), len(dense)) == ((5, 0) if variant.method == "dense" else (4, 1))
        assert all(line.is_dashed() for line in dense)
        front = [line for line in axes.get_lines() if line.get_color() == KNOWN_COLOURS[variant.method]]
        assert front
        assert len(axes.collections) <= 1  # its own band; none behind
        assert axes.get_xlim() == canvas.figure.axes[0].get_xlim()
        assert axes.get_ylim() == canvas.figure.axes[number % panels].get_ylim()
    drawn = drawing(canvas.figure)
    assert (drawn.cut(), drawn.overlapping()) == ([], [])


@pytest.mark.usefixtures("kept")
def test_a_column_that_ends_early_has_its_numbers_below_it(tmp_path: Path) -> None:
    findings = _findings(tmp_path, 7)
    figure = accuracy.by_state(findings, Style(findings.study), "digits").figure  # type: ignore[union-attr]
    numbered = [axes.xaxis.get_major_ticks()[0].label1.get_visible() for axes in figure.axes if axes.get_visible()]
    assert numbered == [False] * 4 + [True] * 3


def test_an_axes_of_its_own_has_the_methods_plain_colour(tmp_path: Path) -> None:
    findings = _findings(tmp_path, 4)
    style = Style(findings.study)
    for variant in findings.study.variants:
        assert style.alone().line(variant) == {**ALONE, "color": KNOWN_COLOURS[variant.method]}
