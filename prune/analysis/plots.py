"""Ways of drawing that several analyses share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas

from prune.report.figures.style import SMALL, WIDE, canvas

KIND_HEIGHT = 2.9
"""Inches of a panel where those of several kinds lie below one another; `AROUND` of all that is not a panel."""

AROUND = 1.4

NUMBERED = 12
"""A heat map with more rows or columns than this has no numbers in its cells."""


def side_by_side(kinds: Sequence[str], height: float | None = None, **options: Any) -> tuple[Canvas, list[Axes]]:
    """A canvas with a panel for each kind of unit, in a row: of one kind it takes half of the page's width.

    Args:
        height: inches, if not the usual.
        options: of matplotlib's `subplots`.
    """
    width, usual = WIDE if len(kinds) > 1 else SMALL
    figure = canvas((width, usual if height is None else height))
    return figure, list(figure.subplots(1, len(kinds), squeeze=False, **options)[0])


def stacked(kinds: Sequence[str]) -> tuple[Canvas, list[Axes]]:
    """A canvas with a panel for each kind of unit, each as wide as the page."""
    figure = canvas((WIDE[0], AROUND + KIND_HEIGHT * len(kinds)))
    return figure, list(figure.subplots(len(kinds), 1, squeeze=False)[:, 0])


def bare(axes: Axes) -> None:
    """A picture without ticks, grid and frame."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)


def photograph(axes: Axes, pixels: np.ndarray) -> None:
    """An image, (height, width, channels) in [0, 1], as it is; of other channels than grey or RGB their mean."""
    shown = pixels if pixels.shape[-1] == 3 else pixels.mean(-1)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


@dataclass(frozen=True)
class Box:
    """One kind of box: an array of values for each block."""

    label: str
    colour: str
    values: Sequence[np.ndarray]
    hatch: str = ""
    alpha: float = 0.6


def boxes(axes: Axes, series: Sequence[Box]) -> None:
    """Boxes side by side for each block: the middle half, the median, and whiskers to the extremes."""
    width = 0.8 / len(series)
    for number, box in enumerate(series):
        places = np.arange(len(box.values)) + (number - (len(series) - 1) / 2) * width
        drawn = axes.boxplot(
            box.values, positions=places, widths=0.85 * width, patch_artist=True, manage_ticks=False, whis=(0, 100),
            boxprops={"facecolor": box.colour, "alpha": box.alpha, "hatch": box.hatch, "edgecolor": "black"},
            medianprops={"color": "black", "linewidth": 1.6}, whiskerprops={"color": "#333333"},
        )  # fmt: skip
        drawn["boxes"][0].set_label(box.label)
    axes.set_xlim(-0.6, len(series[0].values) - 0.4)


def heat(
    axes: Axes, values: np.ndarray, low: float, high: float, colours: str, norm: Normalize | None = None, digits: int = 2
) -> Any:
    """A heat map of a matrix, row 0 at the top, with numbers where there is room; nan is grey.

    Args:
        norm: how values become colours; default: in proportion, from `low` to `high`.
        digits: of a number, after the point.
    """
    rows, columns = values.shape
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    norm = norm or Normalize(low, high)
    image = axes.pcolormesh(*edges, values, cmap=colours, norm=norm, edgecolors="white", linewidth=0.6, rasterized=True)
    axes.set_facecolor("#d9d9d9")
    axes.grid(False)
    axes.set_ylim(rows - 0.5, -0.5)
    if max(rows, columns) <= NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            if value == value:
                text = f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")
                colour = readable(np.asarray(image.to_rgba(value)))
                label = axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
                label.set_in_layout(False)  # it is within the axes: asking each for its place takes most of the time
    return image


def readable(background: np.ndarray) -> str:
    """Black or white, whichever can be read on a colour."""
    red, green, blue = background[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
