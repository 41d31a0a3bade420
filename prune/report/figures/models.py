"""Models beside each other, at every size: a colour for each model, a dash for each method that prunes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from prune.architectures.group import MEASURED
from prune.report.equal_size import MEASURES, by_model, compared_sizes
from prune.report.figures.accuracy import LABEL
from prune.report.figures.pareto import FRONT, Points, rings, sizes, unit_of
from prune.report.figures.style import (
    DASHES,
    MARKERS,
    MODEL_COLOURS,
    WIDE,
    Figure,
    Style,
    canvas,
    heading,
    legend_below,
    render,
)
from prune.report.findings import Findings
from prune.report.run import Variant
from prune.report.text import slug

GREY = "#767676"


def by_size(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy of every model against parameters and against MACs; None where there is only one model."""
    variants = [variant for variant in findings.study.of(dataset) if findings.study.finished(variant)]
    models, methods = by_model(variants), list(dict.fromkeys(variant.method for variant in variants))
    if len(models) < 2:
        return None
    figure = canvas(WIDE)
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    for axes, measure in zip(panels, MEASURES, strict=True):
        points = {variant.label: sizes(findings, variant, measure) for variant in variants}
        unit, word = unit_of([point.cost for found in points.values() for point in found])
        for size in compared_sizes(findings, dataset, measure):
            axes.axvline(size / unit, color="#9a9a9a", linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
        _lines(axes, models, methods, points, unit)
        _legend(axes, list(models), methods)
        rings(axes, points, unit)
        axes.set(xlabel=f"{MEASURED[measure]}{' per image' if measure == 'macs' else ''} ({word})", ylabel=LABEL)
        axes.label_outer()
    heading(figure, f"{dataset}: models by size")
    legend_below(figure, panels[0], columns=8)
    caption = (
        "Each line is a configuration, each point one of its states (mean over seeds): the colour says the model, the dash the "
        "method. “Accuracy at equal size” is read off these lines at the dotted sizes, seed by seed. " + FRONT
    )
    return render(figure, f"models-{slug(dataset)}", "Models by size", caption)


def _lines(
    axes: Axes, models: Mapping[str, Sequence[Variant]], methods: Sequence[str], points: Points, unit: float
) -> None:  # fmt: skip
    for number, members in enumerate(models.values()):
        for variant in members:
            found = points[variant.label]
            look = {**_model(number), **_method(methods.index(variant.method))}
            axes.plot([point.cost / unit for point in found], [point.accuracy for point in found], linewidth=1.4, **look)


def _model(number: int) -> dict[str, Any]:
    return {"color": MODEL_COLOURS[number % len(MODEL_COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def _method(number: int) -> dict[str, Any]:
    return {"linestyle": DASHES[number % len(DASHES)]}


def _legend(axes: Axes, models: Sequence[str], methods: Sequence[str]) -> None:
    """Entries that stand for no one line: a model's marker, a method's dash."""
    for number, name in enumerate(models):
        axes.plot([], [], linestyle="", label=name, **_model(number))
    for number, method in enumerate(methods):
        axes.plot([], [], color=GREY, label=method, **_method(number))
