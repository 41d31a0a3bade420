"""Several variants in one axes while they can be told apart; beyond that one small axes each, the others grey behind it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from prune.report.figures.fit import wrap
from prune.report.figures.style import RC, SMALL, WIDE, Style, canvas, heading, legend_below, name
from prune.report.run import Variant

MOST_LINES = 5
"""With more variants than this each has an axes of its own."""

SMALL_TITLE = 8.5
"""Points."""


@dataclass(frozen=True)
class Panel:
    """One axes of a figure.

    Attributes:
        draw: adds a variant in a style; in a faded one, what others are compared with, or nothing.
        finish: what else belongs into the axes, once all variants are in it.
    """

    draw: Callable[[Axes, Style, Variant], None]
    xlabel: str
    ylabel: str
    title: str = ""
    finish: Callable[[Axes], object] = lambda axes: None


def note(variants: Sequence[Variant]) -> str:
    """What a caption adds about how they are compared."""
    if len(variants) <= MOST_LINES:
        return ""
    return " Each configuration has its own axes, with the others in grey behind it and dense dashed."


def compare(
    style: Style, variants: Sequence[Variant], panels: Sequence[Panel], title: str,
    size: tuple[float, float] = SMALL, stacked: bool = False,
) -> Canvas:  # fmt: skip
    """A figure of the variants: all in each panel, or, where they are too many, each by itself.

    Args:
        size: inches, where all are in each panel.
        stacked: panels are below each other there, not side by side.
    """
    if len(variants) > MOST_LINES:
        return one_each(style, variants, panels, title)
    figure = canvas(size)
    shape = (len(panels), 1) if stacked else (1, len(panels))
    grid = figure.subplots(*shape, sharex=stacked, sharey=_one_scale(panels), squeeze=False).flatten()
    for axes, panel in zip(grid, panels, strict=True):
        for variant in variants:
            panel.draw(axes, style, variant)
        panel.finish(axes)
        axes.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
        axes.label_outer()
    heading(figure, title)
    legend_below(figure, grid[0])
    return figure


def one_each(
    style: Style, variants: Sequence[Variant], panels: Sequence[Panel], title: str, key: bool = False, across: int = 3
) -> Canvas:
    """Each variant by itself: a row of its panels, or, where that is one, up to `across` variants in a row.

    Args:
        key: a legend of what the lines of an axes are.
    """
    columns = len(panels) if len(panels) > 1 else min(across, len(variants))
    rows = math.ceil(len(variants) * len(panels) / columns)
    full = SMALL[0] if columns == 1 else WIDE[0]
    places = list(itertools.product(variants, panels))
    titles = [wrap(_title(v, p, panels), full / columns - 0.6, SMALL_TITLE) for v, p in places]
    lines = max(text.count("\n") + 1 for text in titles)
    figure = canvas((full, 1.0 + rows * ((3.0 if rows == 1 else 1.6) + 0.145 * lines)))
    grid = figure.subplots(rows, columns, sharex=True, sharey="all" if _one_scale(panels) else "col", squeeze=False).flatten()
    alone, behind = style.alone(), style.behind()
    for axes, (variant, panel), text in zip(grid, places, titles, strict=False):
        for other in variants:
            if other is not variant:
                panel.draw(axes, behind, other)
        panel.draw(axes, alone, variant)
        panel.finish(axes)
        axes.set_title(text, fontsize=SMALL_TITLE)
        axes.tick_params(labelsize=SMALL_TITLE)
    for axes in grid[len(places) :]:
        axes.set_visible(False)
    for axes, (_, panel) in list(zip(grid, places, strict=False))[-columns:]:
        axes.set_xlabel(wrap(panel.xlabel, full / columns - 0.6, SMALL_TITLE), fontsize=SMALL_TITLE)
        axes.tick_params(labelbottom=True)  # also where the place below is empty
    heading(figure, title)
    if _one_scale(panels):
        figure.supylabel(panels[0].ylabel, fontsize=RC["axes.labelsize"])
    else:
        for axes, (_, panel) in zip(grid, places, strict=False):
            axes.set_ylabel(panel.ylabel, fontsize=SMALL_TITLE)
    if key:
        legend_below(figure, grid[0])
    return figure


def _one_scale(panels: Sequence[Panel]) -> bool:
    return len({panel.ylabel for panel in panels}) == 1


def _title(variant: Variant, panel: Panel, panels: Sequence[Panel]) -> str:
    if panel is not panels[0]:
        return panel.title
    return f"{name(variant)}, {panel.title}" if panel.title else name(variant)
