"""Accuracy against parameters, MACs and measured latency, with the Pareto front: chosen on validation, shown on test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from prune.report.columns import ACCURACY, CHOOSING
from prune.report.figures.accuracy import LABEL
from prune.report.figures.multiples import Panel, compare, note
from prune.report.figures.style import Figure, Style, render
from prune.report.findings import Findings
from prune.report.latency import Measurement
from prune.report.run import Variant
from prune.report.statistics import pareto_front, summarise
from prune.report.text import slug

FRONT = (
    "Rings: the Pareto front on validation, the states that no other beats in both; their test accuracy is what is shown, so a "
    "ring may lie below others."
)


@dataclass(frozen=True)
class Point:
    """A state of a variant, mean over seeds: what it costs, and its accuracies in percent."""

    cost: float
    chosen_by: float
    accuracy: float


Points = Mapping[str, Sequence[Point]]
"""Variant's label → its states in order."""


def against_parameters(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy against parameters, with the Pareto front."""
    return _against_size(findings, style, dataset, "parameters", "parameters", "")


def against_macs(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy against MACs, with the Pareto front."""
    return _against_size(findings, style, dataset, "macs", "MACs per image", "One MAC is two FLOPs. ")


def _against_size(findings: Findings, style: Style, dataset: str, column: str, what: str, more: str) -> Figure | None:
    points = {variant.label: sizes(findings, variant, column) for variant in findings.study.of(dataset)}
    unit, word = unit_of([point.cost for found in points.values() for point in found])
    short = what.split()[0]
    figure = Labels(f"pareto_{column}", f"Accuracy against {short}", f"{dataset}: accuracy by {short}", f"{what} ({word})")
    return _figure(findings, style, dataset, points, figure, f"Each point is a state (mean over seeds). {more}{FRONT}", unit)


def unit_of(costs: Sequence[float]) -> tuple[float, str]:
    """What an axis of sizes counts in: a number and its name."""
    return (1e6, "millions") if max(costs, default=0.0) >= 1e6 else (1e3, "thousands")


def sizes(findings: Findings, variant: Variant, column: str) -> list[Point]:
    """A variant's states against `parameters` or `macs`."""
    columns = (column, CHOOSING, ACCURACY)
    rows = [[findings.summary(variant, s, name) for name in columns] for s in findings.study.finished(variant)]
    return [Point(*(summary.mean for summary in row if summary)) for row in rows if all(row)]


def against_latency(findings: Findings, style: Style, dataset: str, measured: Sequence[Measurement]) -> Figure | None:
    """Accuracy against measured latency, for the engine, batch size and machine with most measurements."""
    here = [m for m in measured if m.variant.dataset == dataset and m.pruned is not None]
    if not here:
        return None
    kinds = [(m.engine, m.batch_size, m.machine) for m in here]
    engine, batch, machine = max(sorted(set(kinds)), key=lambda kind: (kinds.count(kind), -kind[1]))
    here = [m for m in here if (m.engine, m.batch_size, m.machine) == (engine, batch, machine)]
    points = {variant.label: _latencies(findings, variant, here) for variant in findings.study.of(dataset)}
    label = f"median latency, batch {batch} (ms)"
    figure = Labels("pareto_latency", "Accuracy against latency", f"{dataset}: accuracy by latency", label)
    caption = f"Median of a batch of {batch} with {engine}, measured on {machine}. {FRONT}"
    return _figure(findings, style, dataset, points, figure, caption)


def _latencies(findings: Findings, variant: Variant, measured: Sequence[Measurement]) -> list[Point]:
    """Means over the seeds that were measured."""
    by_state: dict[int, list[tuple[float, ...]]] = {}
    for m in measured:
        values = [findings.study.by_seed(variant, column, m.state).get(m.run.seed) for column in (CHOOSING, ACCURACY)]
        if m.variant.label == variant.label and m.pruned is not None and None not in values:
            by_state.setdefault(m.state, []).append((m.pruned["median_ms"], *(value for value in values if value is not None)))
    means = [[summarise(column) for column in zip(*rows, strict=True)] for _, rows in sorted(by_state.items())]
    return [Point(*(summary.mean for summary in row if summary)) for row in means if all(row)]


@dataclass(frozen=True)
class Labels:
    """What a figure is called: its file, on the page, above its axes, below them."""

    stem: str
    name: str
    title: str
    xlabel: str


def front(points: Points) -> list[Point]:
    """The states that no other beats in both cost and validation accuracy, by cost."""
    every = [point for found in points.values() for point in found]
    return [every[i] for i in pareto_front([point.cost for point in every], [point.chosen_by for point in every])]


def rings(axes: Axes, points: Points, unit: float) -> None:
    """Mark the Pareto front."""
    found = _coordinates(front(points), unit)
    axes.step(*found, where="post", color="black", linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    axes.plot(*found, "o", color="black", markerfacecolor="none", markersize=9.5, zorder=5, label="Pareto front (validation)")


def _coordinates(found: Sequence[Point], unit: float) -> tuple[list[float], list[float]]:
    return [point.cost / unit for point in found], [point.accuracy for point in found]


def _figure(
    findings: Findings, style: Style, dataset: str, points: Points, labels: Labels, caption: str, unit: float = 1.0
) -> Figure | None:
    variants = [variant for variant in findings.study.of(dataset) if points.get(variant.label)]
    if not variants:
        return None

    def draw(axes: Axes, style: Style, variant: Variant) -> None:
        look = style.line(variant) if style.faded else {**style.line(variant), "linewidth": 0.8, "label": variant.label}
        axes.plot(*_coordinates(sorted(points[variant.label], key=lambda p: (p.cost, p.accuracy)), unit), alpha=0.9, **look)

    figure = compare(
        style, variants, [Panel(draw, labels.xlabel, LABEL, finish=lambda axes: rings(axes, points, unit))], labels.title
    )
    return render(figure, f"{labels.stem}-{slug(dataset)}", labels.name, caption + note(variants))
