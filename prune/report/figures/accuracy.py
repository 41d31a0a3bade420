"""Accuracy against state and against the fraction that is pruned, as counted."""

from __future__ import annotations

from matplotlib.axes import Axes

from prune.report.columns import ACCURACY, PRUNED_MACS, PRUNED_PARAMETERS, pruned_column
from prune.report.figures.multiples import Panel, compare, note
from prune.report.figures.style import Figure, Style, band, integer_axis, render
from prune.report.findings import Findings
from prune.report.pruned import counted_alike
from prune.report.run import Variant, kinds_of
from prune.report.text import slug

LABEL = "test accuracy (%)"
BAND = (
    "Lines: mean over seeds; bands: ± one standard deviation; open markers: fewer runs than the configuration has; crosses: "
    "flagged accuracies."
)

TOGETHER = 0.5
"""Percentage points within which variants are pruned alike: a figure shows no less."""


def by_state(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy against state, with a band over seeds."""
    variants = [variant for variant in findings.study.of(dataset) if findings.study.finished(variant)]
    if not variants:
        return None

    def draw(axes: Axes, style: Style, variant: Variant) -> None:
        places = {state: float(state) for state in findings.study.finished(variant)}
        _line(axes, findings, style, variant, places)

    panel = Panel(draw, "state", LABEL, finish=integer_axis)
    figure = compare(style, variants, [panel], f"{dataset}: accuracy by state")
    return render(figure, f"accuracy_by_state-{slug(dataset)}", "Accuracy against state", BAND + note(variants))


def by_rate(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy against the fraction pruned; what prunes nothing is drawn at the fractions of the others' same state."""
    study = findings.study
    pruning = [v for v in study.of(dataset) if v.prunes]
    column, what, why = _fraction(pruning)
    places = {v.label: {s: 100 * r.mean for s in study.finished(v) if (r := findings.summary(v, s, column))} for v in pruning}
    if not any(places.values()):
        return None
    longest = max(places.values(), key=len)
    agree = all(abs(longest.get(s, x) - x) < TOGETHER for place in places.values() for s, x in place.items())
    if agree:
        places = {variant.label: places.get(variant.label, longest) for variant in study.of(dataset)}

    def draw(axes: Axes, style: Style, variant: Variant) -> None:
        _line(axes, findings, style, variant, places[variant.label])

    shown = [variant for variant in study.of(dataset) if places.get(variant.label)]
    figure = compare(style, shown, [Panel(draw, f"{what} pruned (%)", LABEL)], f"{dataset}: accuracy by fraction pruned")
    caption = f"{why} {BAND}{note(shown)}" + (
        " What prunes nothing is drawn where the others are in the same state." if agree else ""
    )
    return render(figure, f"accuracy_by_rate-{slug(dataset)}", "Accuracy against fraction pruned", caption)


def _fraction(pruning: list[Variant]) -> tuple[str, str, str]:
    """The column of states that says how much is pruned, its name, and a sentence on why that one."""
    if {run.measure for variant in pruning for run in variant.runs} == {"macs"}:
        return (
            PRUNED_MACS,
            "all MACs",
            "Counted: multiply-accumulates that are gone, which is what the rate is one of.",
        )
    kind = counted_alike(pruning)
    if kind is None:
        why = "Counted: all parameters that are gone, for not every kind of unit is pruned by the same fraction."
        return PRUNED_PARAMETERS, "all parameters", why
    if kinds_of(pruning) == [kind]:
        return pruned_column(kind), kind, f"Counted: {kind} that are gone."
    others = " and ".join(other for other in kinds_of(pruning) if other != kind)
    why = f"Counted: {kind} that are gone; of {others} as many are, to within one unit."
    return pruned_column(kind), "units of each kind", why


def _line(axes: Axes, findings: Findings, style: Style, variant: Variant, places: dict[int, float]) -> None:
    band(axes, style, variant, _points(findings, variant, places))
    if not style.faded:
        _annotate(axes, findings, style, variant, places)


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
