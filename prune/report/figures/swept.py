"""What a sweep of one or two keys shows: accuracy against the target rate, and over ceilings and shapes of RSST's penalty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from prune.architectures.group import MEASURED
from prune.report.figures.style import SMALL, Figure, Style, canvas, heading, legend_below, render
from prune.report.findings import Findings
from prune.report.run import Variant
from prune.report.text import slug
from prune.report.variants import NO_MATTER_TO_DENSE, group_key

TARGET = "schedule.target"
CEILING, EXPONENTS, SHAPE = (f"method.penalty.{key}" for key in ("ceiling", "exponents", "schedule"))

FEWEST = 3
"""Rates that make a line, ceilings and shapes that make a map."""


def by_target(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Accuracy in the last state against the target rate: a line for each configuration that was run at several."""
    lines = [group for group in _groups(findings, dataset, (TARGET,)) if len(group) >= FEWEST]
    if not lines:
        return None
    figure = canvas(SMALL)
    axes = figure.subplots()
    for group in lines:
        ordered = sorted(group, key=lambda variant: float(variant.settings[TARGET]))
        found = [(v, s) for v in ordered if (s := _last(findings, v)) is not None]
        targets = [100 * float(v.settings[TARGET]) for v, _ in found]
        look = {**style.line(ordered[0]), "linestyle": "-", "capsize": 3}
        axes.errorbar(targets, [s.mean for _, s in found], [s.std for _, s in found], label=_label(group, lines), **look)
    # The dense model at the same epochs, if it was run; once, though a sweep of rates may have run it at each.
    dense = {group_key(_without(v.settings, NO_MATTER_TO_DENSE)): v for v in findings.study.of(dataset) if not v.prunes}
    for variant in dense.values():
        summary = _last(findings, variant)
        if summary is not None:
            label = variant.method if len(dense) == 1 else variant.label
            axes.axhline(summary.mean, color=style.colour(variant), linestyle=(0, (4, 2)), label=label)
    measures = {run.measure for group in lines for variant in group for run in variant.runs}
    of = MEASURED[measures.pop()] if len(measures) == 1 else "units, or of size"
    axes.set(xlabel=f"target rate (% of {of})", ylabel="test accuracy (%)")
    heading(figure, f"{dataset}: accuracy by target rate")
    legend_below(figure, axes)
    caption = (
        "Top-1 test accuracy of the last state's best model on validation; mean and standard deviation over seeds. Each point "
        "is a run of its own, pruned to that rate. Dashed: dense, in its last state."
    )
    return render(figure, f"accuracy_by_target-{slug(dataset)}", "Accuracy against the target rate", caption)


def penalties(findings: Findings, dataset: str) -> list[Figure]:
    """Accuracy in the last state over ceilings and shapes of the penalty: a map for each configuration that was swept."""
    maps = [group for group in _groups(findings, dataset, (CEILING, EXPONENTS, SHAPE)) if len(group) >= FEWEST]
    return [found for number, group in enumerate(maps) if (found := _map(findings, dataset, group, number)) is not None]


def _map(findings: Findings, dataset: str, group: list[Variant], number: int) -> Figure | None:
    """Rows: shape and exponent; columns: ceilings. One row or one column alone is no map."""
    ceilings = sorted({variant.settings[CEILING] for variant in group}, key=lambda ceiling: (isinstance(ceiling, str), ceiling))
    shapes = sorted({_shape(variant) for variant in group})
    if len(ceilings) < 2 or len(shapes) < 2:
        return None
    values = np.full((len(shapes), len(ceilings)), np.nan)
    for variant in group:
        summary = _last(findings, variant)
        if summary is not None:
            values[shapes.index(_shape(variant)), ceilings.index(variant.settings[CEILING])] = summary.mean
    if np.isnan(values).all():
        return None
    figure = canvas((3.9 + 0.7 * len(ceilings), 2.2 + 0.4 * len(shapes)))
    axes = figure.subplots()
    axes.set_facecolor("#d9d9d9")
    axes.grid(False)
    edges = [np.arange(size + 1) - 0.5 for size in (len(ceilings), len(shapes))]
    image = axes.pcolormesh(*edges, values, cmap="cividis", edgecolors="white", linewidth=0.6, rasterized=True)
    low, high = np.nanmin(values), np.nanmax(values)
    for (row, column), value in np.ndenumerate(values):
        if value == value:
            colour = "black" if value > low + 0.55 * (high - low) else "white"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(ceilings)), [c if isinstance(c, str) else f"{c:g}" for c in ceilings])
    axes.set_yticks(range(len(shapes)), shapes)
    axes.set(xlabel="penalty.ceiling", ylabel="penalty.schedule")
    axes.invert_yaxis()
    figure.colorbar(image, ax=axes, label="test accuracy (%)")
    method = group[0].method
    heading(figure, f"{dataset}, {method}: accuracy by penalty")
    caption = (
        "Top-1 test accuracy of the last state's best model on validation, mean over seeds; k is penalty.exponents. Grey: not "
        "run, or not finished."
    )
    stem = slug(f"{dataset} {method}") + (f"-{number}" if number else "")
    return render(figure, f"penalty_map-{stem}", f"Accuracy by ceiling and shape of the penalty: {method}", caption)


def _shape(variant: Variant) -> str:
    """`exp_custom_exponents, k = 4`, or a shape that has no exponent."""
    shape = str(variant.settings[SHAPE])
    return f"{shape}, k = {float(variant.settings[EXPONENTS]):g}" if shape == "exp_custom_exponents" else shape


def _groups(findings: Findings, dataset: str, swept: tuple[str, ...]) -> list[list[Variant]]:
    """Pruning variants with all of the swept keys that differ in these alone."""
    found: dict[str, list[Variant]] = {}
    for variant in findings.study.of(dataset):
        if variant.prunes and all(key in variant.settings for key in swept):
            found.setdefault(group_key(_without(variant.settings, swept)), []).append(variant)
    return list(found.values())


def _without(settings: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in keys}


def _last(findings: Findings, variant: Variant) -> Any:
    """Accuracy in the variant's last state; None before it is finished."""
    last = findings.last_state(variant)
    return None if last != variant.planned_states - 1 else findings.summary(variant, last)


def _label(group: list[Variant], lines: list[list[Variant]]) -> str:
    """The variants' name without the rate; the method alone where that tells the lines apart."""
    method = group[0].method
    if sum(other[0].method == method for other in lines) == 1:
        return method
    parts = group[0].label.split(" · ", 1)
    keys = [key for key in parts[-1].split(", ") if len(parts) > 1 and not key.startswith(f"{TARGET}=")]
    return " · ".join([method, ", ".join(keys)]) if keys else method
