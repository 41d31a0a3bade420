"""What all figures have in common: colours, sizes, lines with bands, and how they become PNG and SVG."""

from __future__ import annotations

import copy
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from prune.base.text import count
from prune.report.figures.fit import width, wrap
from prune.report.run import Variant
from prune.report.study import Study

KNOWN_COLOURS = {"dense": "#4d4d4d", "refill": "#0072b2", "rsst": "#d55e00", "phases": "#009e73", "scratch": "#cc79a7"}
"""A method's colour in every report (Okabe & Ito's palette, which the colour-blind can tell apart)."""

OTHER_COLOURS = ("#e69f00", "#56b4e9", "#7f3c8d")
"""For methods of other packages, in the order of their names."""

MODEL_COLOURS = ("#009e73", "#cc79a7", *OTHER_COLOURS, "#0072b2", "#d55e00", "#4d4d4d")
"""Of models, where a line stands for a model and no method: those of no known method first."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#767676",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a name with a $ is shown as it is
    "svg.hashsalt": "prune",  # the same numbers give the same file
}

SMALL, WIDE = (6.4, 4.2), (11.0, 4.6)
"""Inches: half the page's width, and all of it."""

DPI = 120
"""Of PNGs, and of pictures within SVGs: a wide figure has about as many pixels as the page gives it."""

BEHIND: dict[str, Any] = {"color": "#cdcdcd", "linewidth": 0.8, "linestyle": "-", "marker": "", "zorder": 1}
DENSE_BEHIND: dict[str, Any] = {**BEHIND, "color": "#7a7a7a", "linestyle": (0, (4, 2))}
"""How a line is drawn that another one is to be compared with."""

ALONE: dict[str, Any] = {"linestyle": "-", "linewidth": 1.5, "marker": "o", "markersize": 3.5}
"""How a line is drawn that has no other of its colour beside it."""

MANY_POINTS = 250
"""What has more points than this is a picture within an SVG, which would be several times as large otherwise."""


@dataclass(frozen=True)
class Figure:
    """A finished figure.

    Attributes:
        name: file stem of the PNG and the SVG.
        title, caption: for the page; the caption says what is drawn.
        wide: takes the page's whole width.
        light: in the page as a PNG, whatever the size of its SVG: one of many.
    """

    name: str
    title: str
    caption: str
    png: bytes
    svg: bytes
    wide: bool = False
    light: bool = False


class Style:
    """Colour, marker and dash of each variant: the colour says the method, marker and dash which of its variants.

    Attributes:
        faded: every line is grey, dense dashed: a background.
    """

    faded = False

    def __init__(self, study: Study):
        self._methods = {variant.label: variant.method for variant in study.variants}
        methods = sorted({variant.method for variant in study.variants} - set(KNOWN_COLOURS))
        self._colours = {**KNOWN_COLOURS, **{m: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, m in enumerate(methods)}}
        self._look: dict[str, dict[str, Any]] = {}
        for method in {variant.method for variant in study.variants}:
            names = sorted({variant.label for variant in study.variants if variant.method == method})
            for index, label in enumerate(names):
                self._look[label] = {
                    "color": _lighter(self._colours[method], 0.55 * index / max(1, len(names) - 1)),
                    "linestyle": DASHES[index % len(DASHES)],
                    "marker": MARKERS[index % len(MARKERS)],
                }

    def line(self, variant: Variant) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        return dict(self._look[variant.label])

    def colour(self, variant: Variant) -> str:
        return str(self._look[variant.label]["color"])

    def alone(self) -> Style:
        """The style of what has an axes of its own: its method's plain colour."""
        return self._restyled({label: {**ALONE, "color": self._colours[method]} for label, method in self._methods.items()})

    def behind(self) -> Style:
        """The style of what stands behind."""
        look = {label: DENSE_BEHIND if method == "dense" else BEHIND for label, method in self._methods.items()}
        style = self._restyled(look)
        style.faded = True
        return style

    def _restyled(self, look: dict[str, dict[str, Any]]) -> Style:
        style = copy.copy(self)
        style._look = look
        return style


def _lighter(colour: str, share: float) -> str:
    red, green, blue = to_rgb(colour)
    return to_hex((red + (1 - red) * share, green + (1 - green) * share, blue + (1 - blue) * share))


def canvas(size: tuple[float, float] = SMALL) -> Canvas:
    """An empty figure of the house style; call within `matplotlib.rc_context(RC)`, as `styled` arranges."""
    return Canvas(figsize=size)


def render(figure: Canvas, name: str, title: str, caption: str) -> Figure:
    """Draw as PNG and SVG."""
    png, svg = io.BytesIO(), io.BytesIO()
    lay_out(figure)
    figure.savefig(png, format="png", dpi=DPI, facecolor="white")
    figure.savefig(svg, format="svg", dpi=DPI, facecolor="white", metadata={"Date": None})
    wide = figure.get_figwidth() > SMALL[0]
    return Figure(name, title, caption, png.getvalue(), lean(svg.getvalue()), wide)


def lay_out(figure: Canvas) -> None:
    """Place everything; finding the places again for each format would be half of the time."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")


def lean(svg: bytes) -> bytes:
    """The same picture with coordinates to a hundredth of a point."""
    return re.sub(rb' (?:d|x|y)="[^"]*"', lambda found: re.sub(rb"(\.\d\d)\d+", rb"\1", found[0]), svg)


def styled() -> Any:
    """The context in which figures are made."""
    return matplotlib.rc_context(RC)


def band(
    axes: Axes, style: Style, variant: Variant, points: Sequence[tuple[float, float, float]], every: int = 1, **look: Any
) -> None:
    """A line through means with a band of one standard deviation.

    Args:
        points: (x, mean, std), std nan where one run has the point.
        every: a marker on each so-manieth point.
        look: further arguments of `Axes.plot`, before the variant's own.
    """
    if not points:
        return
    xs, means, stds = zip(*points, strict=True)
    label = name(variant)
    many = len(points) > MANY_POINTS
    if style.faded:
        axes.plot(xs, means, rasterized=many, **style.line(variant))
        return
    axes.plot(xs, means, label=label, markevery=every, **{**style.line(variant), **look})
    if any(std == std for std in stds):
        spread = [std if std == std else 0.0 for std in stds]
        low = [mean - std for mean, std in zip(means, spread, strict=True)]
        high = [mean + std for mean, std in zip(means, spread, strict=True)]
        axes.fill_between(xs, low, high, color=style.colour(variant), alpha=0.18, linewidth=0, rasterized=many)


def name(variant: Variant) -> str:
    """`refill · criterion=taylor (3 runs)`."""
    return f"{variant.label} ({count(len(variant.runs), 'run')})"


HANDLE = 0.65
"""Inches that a legend's entry takes beside its text."""


def legend_below(figure: Canvas, axes: Axes, columns: int = 5) -> None:
    """One legend under the axes, in as many columns as long labels allow; the figure grows by its lines."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    size = RC["legend.fontsize"]
    room, height = figure.get_figwidth() - 0.3, figure.get_figheight()
    longest = HANDLE + max(width(label, size) for label in labels)
    ncols = max(1, min(columns, len(labels), int(room // longest)))
    wrapped = [wrap(label, room / ncols - HANDLE, size) for label in labels]
    lines = math.ceil(len(labels) / ncols) * max(label.count("\n") + 1 for label in wrapped)
    figure.set_figheight(height + 0.19 * (lines - 1))
    figure.legend(handles, wrapped, loc="outside lower center", ncols=ncols)


def heading(figure: Canvas, text: str) -> None:
    """A title above everything, in as many lines as it takes."""
    figure.suptitle(wrap(text, figure.get_figwidth() - 0.4, RC["axes.titlesize"]), fontsize=RC["axes.titlesize"])


def integer_axis(axes: Axes, ticks: int = 12) -> None:
    """Ticks of the x axis on whole numbers only, at most so many."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True, steps=[1, 2, 5, 10]))
