"""Accuracy against state, rate, parameters, MACs and measured latency."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from prune.report.figures.style import Figure, Style, band, canvas, integer_axis, legend_below, render
from prune.report.findings import Findings
from prune.report.latency import Measurement
from prune.report.statistics import pareto_front, summarise
from prune.report.study import ACCURACY, Variant
from prune.report.text import slug

LABEL = "test accuracy (%)"
BAND = (
    "Lines: mean over seeds; bands: ± one standard deviation; open markers: fewer runs than the configuration has; crosses: "
    "flagged accuracies."
)


def by_state(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy against state, with a band over seeds."""
    variants = [variant for variant in findings.study.of(dataset) if findings.study.finished(variant)]
    if not variants:
        return None
    figure = canvas()
    axes = figure.subplots()
    for variant in variants:
        places = {state: float(state) for state in findings.study.finished(variant)}
        band(axes, style, variant, _points(findings, variant, places))
        _annotate(axes, findings, style, variant, places)
    axes.set(xlabel="state", ylabel=LABEL, title=f"{dataset}: accuracy by state")
    integer_axis(axes)
    legend_below(figure, axes)
    return render(figure, f"accuracy_by_state-{slug(dataset)}", "Accuracy against state", BAND)


def by_rate(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy against the rate of pruned units; what prunes nothing is drawn at the rates of the others' same state."""
    pruning = [v for v in findings.study.of(dataset) if v.prunes]
    if not pruning:
        return None
    places = {
        v.label: {s: 100 * r.mean for s in findings.study.finished(v) if (r := findings.summary(v, s, "rate"))} for v in pruning
    }
    longest = max(places.values(), key=len)
    agree = all(abs(longest.get(s, x) - x) < 1e-6 for place in places.values() for s, x in place.items())
    figure = canvas()
    axes = figure.subplots()
    for variant in findings.study.of(dataset):
        if variant.label in places:
            band(axes, style, variant, _points(findings, variant, places[variant.label]))
            _annotate(axes, findings, style, variant, places[variant.label])
        elif agree:
            band(axes, style, variant, _points(findings, variant, longest))
    axes.set(xlabel="rate: units of each kind pruned (%)", ylabel=LABEL, title=f"{dataset}: accuracy by rate")
    legend_below(figure, axes)
    caption = BAND + (" What prunes nothing is drawn at the rate that the others have in the same state." if agree else "")
    return render(figure, f"accuracy_by_rate-{slug(dataset)}", "Accuracy against rate", caption)


def _points(findings: Findings, variant: Variant, places: dict[int, float]) -> list[tuple[float, float, float]]:
    found = [(places[s], findings.summary(variant, s)) for s in findings.study.finished(variant) if s in places]
    return sorted((x, s.mean, s.std) for x, s in found if s is not None)


def _annotate(axes: Axes, findings: Findings, style: Style, variant: Variant, places: dict[int, float]) -> None:
    """Open markers where not all runs of a variant count, crosses on flagged accuracies."""
    for state, x in places.items():
        summary = findings.summary(variant, state)
        if summary is not None and summary.n < len(variant.runs):
            look = {**style.line(variant), "linestyle": ""}
            axes.plot([x], [summary.mean], markerfacecolor="white", zorder=4, **look)
    by_key = {run.key: run for run in variant.runs}
    for key, state in findings.flagged:
        if key in by_key and state in places:
            value = findings.study.by_seed(variant, ACCURACY, state).get(by_key[key].seed)
            if value is not None:
                axes.plot([places[state]], [value], "x", color="black", markersize=8, markeredgewidth=1.6, zorder=5)


def against_parameters(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy against parameters, with the Pareto front."""
    caption = "Each point is a state (mean over seeds). Rings: the Pareto front, the states that no other beats in both."
    return _against_size(findings, style, dataset, "parameters", "parameters", caption)


def against_macs(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy against MACs, with the Pareto front."""
    caption = "Each point is a state (mean over seeds). Rings: the Pareto front. One MAC is two FLOPs."
    return _against_size(findings, style, dataset, "macs", "MACs per image", caption)


def _against_size(findings: Findings, style: Style, dataset: str, column: str, what: str, caption: str) -> Figure | None:
    points: dict[str, list[tuple[float, float]]] = {}
    for variant in findings.study.of(dataset):
        both = [(findings.summary(variant, s, column), findings.summary(variant, s)) for s in findings.study.finished(variant)]
        points[variant.label] = [(size.mean, value.mean) for size, value in both if size is not None and value is not None]
    largest = max((x for found in points.values() for x, _ in found), default=0.0)
    unit, word = (1e6, "millions") if largest >= 1e6 else (1e3, "thousands")
    scaled = {label: [(x / unit, y) for x, y in found] for label, found in points.items()}
    name, short = f"pareto_{column}-{slug(dataset)}", what.split()[0]
    heading, title = f"Accuracy against {short}", f"{dataset}: accuracy by {short}"
    return _pareto(findings, style, dataset, scaled, name, heading, title, f"{what} ({word})", caption)


def against_latency(findings: Findings, style: Style, dataset: str, measured: Sequence[Measurement]) -> Figure | None:
    """Accuracy against measured latency, for the engine, batch size and machine with most measurements."""
    here = [m for m in measured if m.variant.dataset == dataset and m.pruned is not None]
    if not here:
        return None
    kinds = [(m.engine, m.batch_size, m.machine) for m in here]
    engine, batch, machine = max(sorted(set(kinds)), key=lambda kind: (kinds.count(kind), -kind[1]))
    points: dict[str, list[tuple[float, float]]] = {}
    for variant in findings.study.of(dataset):
        by_state: dict[int, list[tuple[float, float]]] = {}
        for m in here:
            value = findings.study.by_seed(variant, ACCURACY, m.state).get(m.run.seed)
            fits = m.variant.label == variant.label and (m.engine, m.batch_size, m.machine) == (engine, batch, machine)
            if fits and m.pruned is not None and value is not None:
                by_state.setdefault(m.state, []).append((m.pruned["median_ms"], value))
        means = [tuple(summarise(column) for column in zip(*pairs, strict=True)) for _, pairs in sorted(by_state.items())]
        points[variant.label] = [(x.mean, y.mean) for x, y in means if x is not None and y is not None]
    caption = f"Median of a batch of {batch} with {engine}, measured on {machine}. Rings: the Pareto front."
    title = f"{dataset}: accuracy by latency"
    label = f"median latency, batch {batch} (ms)"
    return _pareto(
        findings, style, dataset, points, f"pareto_latency-{slug(dataset)}", "Accuracy against latency", title, label, caption
    )


def _pareto(
    findings: Findings, style: Style, dataset: str, points: dict[str, list[tuple[float, float]]],
    name: str, heading: str, title: str, label: str, caption: str,
) -> Figure | None:  # fmt: skip
    every = [point for found in points.values() for point in found]
    if not every:
        return None
    figure = canvas()
    axes = figure.subplots()
    for variant in findings.study.of(dataset):
        found = sorted(points.get(variant.label, []))
        if found:
            look = {**style.line(variant), "linewidth": 0.8}
            axes.plot(*zip(*found, strict=True), label=variant.label, alpha=0.9, **look)
    front = [every[i] for i in pareto_front([x for x, _ in every], [y for _, y in every])]
    xs, ys = zip(*front, strict=True)
    axes.step(xs, ys, where="post", color="black", linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    axes.plot(xs, ys, "o", color="black", markerfacecolor="none", markersize=9.5, zorder=5, label="Pareto front")
    axes.set(xlabel=label, ylabel=LABEL, title=title)
    legend_below(figure, axes)
    return render(figure, name, heading, caption)
