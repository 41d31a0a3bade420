"""Training: curves over the whole run and within states, λ, drop and recovery, time."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from prune.pruning.schedule import epochs_before
from prune.report.figures.style import WIDE, Figure, Style, band, canvas, integer_axis, legend_below, render
from prune.report.findings import Findings
from prune.report.study import Variant
from prune.report.tables.training import trained_states
from prune.report.text import slug


def curves(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Validation and train accuracy over all epochs of the run."""
    variants = [v for v in findings.study.of(dataset) if len(findings.study.epochs_of(v))]
    if not variants:
        return None
    figure = canvas((WIDE[0], 6.2))
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, column, label in ((upper, "val_accuracy", "validation (%)"), (lower, "train_accuracy", "train (%)")):
        for variant in variants:
            frame = findings.study.epochs_of(variant)
            band(axes, style, variant, _over(frame, "total_epoch", column), marker="", linewidth=1.3)
        _state_boundaries(axes, variants[0])
        axes.set(ylabel=f"accuracy, {label}")
    upper.set_title(f"{dataset}: training curves over the whole run")
    lower.set_xlabel("epochs since the run began (grey lines: a new state begins)")
    integer_axis(lower)
    legend_below(figure, upper)
    caption = "Accuracy at each epoch's end. Lines: mean over seeds; bands: ± one standard deviation."
    return render(figure, f"training_curves-{slug(dataset)}", "Training curves", caption, wide=True)


def _over(frame: pd.DataFrame, key: str, column: str) -> list[tuple[float, float, float]]:
    """(x, mean, std) of a column by a key."""
    grouped = frame.dropna(subset=[column]).groupby(key)[column].agg(["mean", "std"])
    return [(float(str(x)), float(mean), float(std)) for x, mean, std in grouped.itertuples()]


def _state_boundaries(axes: Axes, variant: Variant) -> None:
    record = variant.runs[0].record
    for state in range(1, record.planned_states):
        begin = epochs_before(record.config["schedule"], state)
        axes.axvline(begin - 0.5, color="#b5b5b5", linewidth=0.7, zorder=0)


def within_states(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Validation (solid) and train accuracy (dotted) within state 0, a middle state and the last one."""
    variants = [v for v in findings.study.of(dataset) if len(findings.study.epochs_of(v))]
    if not variants:
        return None
    every = sorted({state for v in variants for state in trained_states(findings, v)})
    states = sorted({every[0], every[len(every) // 2], every[-1]})
    figure = canvas(WIDE)
    panels = figure.subplots(1, len(states), sharey=True, squeeze=False)[0]
    for axes, state in zip(panels, states, strict=True):
        for variant in variants:
            frame = findings.study.epochs_of(variant)
            frame = frame[frame["state"] == state]
            points = _over(frame, "epoch", "val_accuracy")
            band(axes, style, variant, points, every=max(1, len(points) // 8))
            train = [(x, mean) for x, mean, _ in _over(frame, "epoch", "train_accuracy")]
            if train:
                axes.plot(*zip(*train, strict=True), color=style.colour(variant), linestyle=":", linewidth=1.3)
        axes.set(title=f"state {state}", xlabel="epoch of the state")
        integer_axis(axes, 8)
    panels[0].set_ylabel(f"{dataset}: accuracy (%)")
    legend_below(figure, panels[0])
    caption = (
        "Solid or dashed with markers: validation; dotted without: train. The distance between them is the overfitting gap."
    )
    return render(figure, f"within_states-{slug(dataset)}", "Train and validation within states", caption, wide=True)


def penalty(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """λ over the last penalised state, above what validation accuracy does meanwhile."""
    variants = [v for v in findings.study.of(dataset) if findings.study.epochs_of(v)["penalty"].notna().any()]
    if not variants:
        return None
    figure = canvas((6.4, 5.2))
    upper, lower = figure.subplots(2, 1, sharex=True)
    shown = []
    for variant in variants:
        frame = findings.study.epochs_of(variant)
        state = int(frame[frame["penalty"].notna()]["state"].max())
        frame = frame[frame["state"] == state]
        shown.append(state)
        band(upper, style, variant, _over(frame, "epoch", "penalty"), every=max(1, frame["epoch"].max() // 8))
        band(lower, style, variant, _over(frame, "epoch", "val_accuracy"), every=max(1, frame["epoch"].max() // 8))
        removed = frame[frame["penalty"].notna()]["epoch"].max() + 0.5
        for axes in (upper, lower):
            axes.axvline(removed, color=style.colour(variant), linewidth=1, linestyle=":")
    upper.set(ylabel="penalty λ", title=f"{dataset}: λ over state {' / '.join(map(str, sorted(set(shown))))}")
    lower.set(ylabel="validation (%)", xlabel="epoch of the state (dotted line: removal)")
    integer_axis(lower)
    legend_below(figure, upper)
    return render(figure, f"penalty-{slug(dataset)}", "Penalty λ over a state", "λ at each epoch's last step; mean over seeds.")


def recovery(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """For each pruned state: accuracy before, right after pruning and at the end."""
    study = findings.study
    variants = [v for v in study.of(dataset) if study.finished(v, "val_accuracy_pruned")]
    if not variants:
        return None
    figure = canvas((WIDE[0], 3.9 if len(variants) <= 3 else 7.0))
    rows = 1 if len(variants) <= 3 else -(-len(variants) // 3)
    grid = figure.subplots(rows, min(3, len(variants)), sharey=True, squeeze=False).flatten()
    for axes in grid[len(variants) :]:
        axes.set_visible(False)
    for axes, variant in zip(grid, variants, strict=False):
        colour = style.colour(variant)
        states = [s for s in study.finished(variant, "val_accuracy_pruned") if s >= 1]
        pruned = [(s, v.mean) for s in states if (v := findings.summary(variant, s, "val_accuracy_pruned"))]
        final = [
            (s, v.mean)
            for s in study.finished(variant, "val_accuracy_final")
            if (v := findings.summary(variant, s, "val_accuracy_final"))
        ]
        ends = dict(final)
        for state, value in pruned:
            axes.plot([state, state], [value, ends.get(state, value)], color=colour, alpha=0.35, linewidth=3, zorder=1)
        if pruned:
            axes.plot(*zip(*pruned, strict=True), "v", color=colour, markerfacecolor="white", label="right after pruning")
        axes.plot(*zip(*final, strict=True), "o-", color=colour, linewidth=1.2, label="end of state")
        axes.set(title=variant.label, xlabel="state")
        integer_axis(axes)
        axes.legend(loc="lower left")
    grid[0].set_ylabel(f"{dataset}: validation (%)")
    caption = "What pruning costs at once (triangles) and what training wins back (dots); means over seeds."
    return render(figure, f"recovery-{slug(dataset)}", "Drop and recovery", caption, wide=True)


def removal(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Soft methods: accuracy before and after removal, and what removing at once would have left."""
    study = findings.study
    variants = [v for v in study.of(dataset) if study.finished(v, "val_accuracy_after_removal")]
    if not variants:
        return None
    figure = canvas()
    axes = figure.subplots()
    marks = {"val_accuracy_before_removal": "s", "val_accuracy_after_removal": "x", "val_accuracy_pruned": "v"}
    names = ("before removal", "after removal", "if removed at once")
    for variant in variants:
        for (column, marker), name in zip(marks.items(), names, strict=True):
            found = [(s, v.mean) for s in study.finished(variant, column) if (v := findings.summary(variant, s, column))]
            if found:
                look = {**style.line(variant), "marker": marker, "linestyle": "" if marker == "x" else "-", "linewidth": 0.9}
                alpha = 0.5 if marker == "v" else 1.0
                axes.plot(
                    *zip(*found, strict=True), label=f"{variant.label}: {name}", markerfacecolor="white", alpha=alpha, **look
                )
    axes.set(xlabel="state", ylabel="validation accuracy (%)", title=f"{dataset}: what removal costs")
    integer_axis(axes)
    legend_below(figure, axes)
    caption = "The gap between squares and crosses is what removal costs; triangles: masking the units at the state's start."
    return render(figure, f"removal-{slug(dataset)}", "Before and after removal", caption)


def time(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Seconds per epoch by state: what pruning saves in training."""
    variants = [v for v in findings.study.of(dataset) if len(findings.study.epochs_of(v))]
    if not variants:
        return None
    figure = canvas()
    axes = figure.subplots()
    for variant in variants:
        frame = findings.study.epochs_of(variant).groupby(["run", "state"])["seconds"].mean().reset_index()
        band(axes, style, variant, _over(frame, "state", "seconds"))
    axes.set(xlabel="state", ylabel="seconds per epoch", title=f"{dataset}: time per epoch")
    axes.set_ylim(bottom=0)
    integer_axis(axes)
    legend_below(figure, axes)
    caption = "Mean over a state's epochs, training and validation. Runs of different machines are not told apart."
    return render(figure, f"time-{slug(dataset)}", "Time per epoch", caption)
