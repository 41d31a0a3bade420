"""Training: curves over the whole run and within states, λ, drop and recovery, time."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes

from prune.report.figures.multiples import Panel, compare, note, one_each
from prune.report.figures.style import SMALL, WIDE, Figure, Style, band, integer_axis, render
from prune.report.findings import Findings
from prune.report.run import Variant
from prune.report.tables.training import trained_states
from prune.report.text import slug


def curves(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Validation and train accuracy over all epochs of the run."""
    variants = [v for v in findings.study.of(dataset) if len(findings.study.epochs_of(v))]
    if not variants:
        return None

    def draw(column: str) -> Callable[[Axes, Style, Variant], None]:
        points = {v.label: _over(findings.study.epochs_of(v), "total_epoch", column) for v in variants}
        return lambda axes, style, variant: band(axes, style, variant, points[variant.label], marker="", linewidth=1.3)

    def finish(axes: Axes) -> None:
        _state_boundaries(axes, variants[0])
        integer_axis(axes, 8)

    xlabel = "epochs since the run began (grey lines: a new state begins)"
    panels = [
        Panel(draw(f"{which}_accuracy"), xlabel, f"{name} (%)", f"{name} accuracy", finish)
        for which, name in (("val", "validation"), ("train", "train"))
    ]
    title = f"{dataset}: training curves over the whole run"
    figure = compare(style, variants, panels, title, (WIDE[0], 6.2), stacked=True)
    caption = f"Accuracy at each epoch's end. Lines: mean over seeds; bands: ± one standard deviation.{note(variants)}"
    return render(figure, f"training_curves-{slug(dataset)}", "Training curves", caption)


def _over(frame: pd.DataFrame, key: str, column: str) -> list[tuple[float, float, float]]:
    """(x, mean, std) of a column by a key."""
    grouped = frame.dropna(subset=[column]).groupby(key)[column].agg(["mean", "std"])
    return [(float(str(x)), float(mean), float(std)) for x, mean, std in grouped.itertuples()]


def _state_boundaries(axes: Axes, variant: Variant) -> None:
    record = variant.runs[0].record
    for state in range(1, record.planned_states):
        begin = record.epochs_before(state)
        axes.axvline(begin - 0.5, color="#b5b5b5", linewidth=0.7, zorder=0)


def within_states(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Validation (solid) and train accuracy (dotted) within state 0, a middle state and the last one."""
    variants = [v for v in findings.study.of(dataset) if len(findings.study.epochs_of(v))]
    if not variants:
        return None
    every = sorted({state for v in variants for state in trained_states(findings, v)})
    states = sorted({every[0], every[len(every) // 2], every[-1]})

    def draw(state: int) -> Callable[[Axes, Style, Variant], None]:
        frames = {v.label: frame[frame["state"] == state] for v in variants for frame in [findings.study.epochs_of(v)]}
        validation = {label: _over(frame, "epoch", "val_accuracy") for label, frame in frames.items()}
        train = {label: [(x, y) for x, y, _ in _over(frame, "epoch", "train_accuracy")] for label, frame in frames.items()}

        def drawn(axes: Axes, style: Style, variant: Variant) -> None:
            points = validation[variant.label]
            band(axes, style, variant, points, every=max(1, len(points) // 8))
            if train[variant.label] and not style.faded:
                xs, means = zip(*train[variant.label], strict=True)
                axes.plot(xs, means, color=style.colour(variant), linestyle=":", linewidth=1.3)

        return drawn

    panels = [
        Panel(draw(state), "epoch of the state", "accuracy (%)", f"state {state}", lambda axes: integer_axis(axes, 8))
        for state in states
    ]
    figure = compare(style, variants, panels, f"{dataset}: validation and train accuracy within states", WIDE)
    caption = (
        "Solid or dashed with markers: validation; dotted without: train. The distance between them is the overfitting gap."
        + note(variants)
    )
    return render(figure, f"within_states-{slug(dataset)}", "Train and validation within states", caption)


def penalty(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """λ over the last penalised state, above what validation accuracy does meanwhile."""
    variants = [v for v in findings.study.of(dataset) if findings.study.epochs_of(v)["penalty"].notna().any()]
    if not variants:
        return None
    last = {variant.label: _last_penalised(findings, variant) for variant in variants}

    def draw(column: str) -> Callable[[Axes, Style, Variant], None]:
        def drawn(axes: Axes, style: Style, variant: Variant) -> None:
            frame = last[variant.label]
            points = _over(frame, "epoch", column)
            band(axes, style, variant, points, every=max(1, frame["epoch"].max() // 8))
            if not style.faded:
                removed = frame[frame["penalty"].notna()]["epoch"].max() + 0.5
                axes.axvline(removed, color=style.colour(variant), linewidth=1, linestyle=":")

        return drawn

    xlabel = "epoch of the state (dotted line: removal)"
    panels = [Panel(draw("penalty"), xlabel, "penalty λ", finish=integer_axis),
              Panel(draw("val_accuracy"), xlabel, "validation (%)", finish=integer_axis)]  # fmt: skip
    shown = " / ".join(map(str, sorted({int(frame["state"].iloc[0]) for frame in last.values()})))
    figure = compare(style, variants, panels, f"{dataset}: λ over state {shown}", (SMALL[0], 5.2), stacked=True)
    caption = f"λ at each epoch's last step; mean over seeds.{note(variants)}"
    return render(figure, f"penalty-{slug(dataset)}", "Penalty λ over a state", caption)


def _last_penalised(findings: Findings, variant: Variant) -> pd.DataFrame:
    """The epochs of the last state in which a variant had a penalty."""
    frame = findings.study.epochs_of(variant)
    return frame[frame["state"] == frame[frame["penalty"].notna()]["state"].max()]


def recovery(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """For each pruned state: accuracy before, right after pruning and at the end."""
    study = findings.study
    variants = [v for v in study.of(dataset) if study.finished(v, "val_accuracy_pruned")]
    if not variants:
        return None

    def means(variant: Variant, column: str) -> dict[int, float]:
        return {s: v.mean for s in study.finished(variant, column) if (v := findings.summary(variant, s, column))}

    def draw(axes: Axes, style: Style, variant: Variant) -> None:
        if style.faded:
            return
        colour = style.colour(variant)
        pruned = {state: value for state, value in means(variant, "val_accuracy_pruned").items() if state >= 1}
        final = means(variant, "val_accuracy_final")
        for state, value in pruned.items():
            axes.plot([state, state], [value, final.get(state, value)], color=colour, alpha=0.35, linewidth=3, zorder=1)
        if pruned:
            axes.plot(
                *zip(*pruned.items(), strict=True), "v", color=colour, markerfacecolor="white", label="right after pruning"
            )
        axes.plot(*zip(*final.items(), strict=True), "o-", color=colour, linewidth=1.2, label="end of state")

    panel = Panel(draw, "state", "validation (%)", finish=integer_axis)
    figure = one_each(style, variants, [panel], f"{dataset}: drop and recovery", key=True)
    caption = "What pruning costs at once (triangles) and what training wins back (dots); means over seeds."
    return render(figure, f"recovery-{slug(dataset)}", "Drop and recovery", caption)


def removal(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Soft methods: accuracy before and after removal, and what removing at once would have left."""
    study = findings.study
    variants = [v for v in study.of(dataset) if study.finished(v, "val_accuracy_after_removal")]
    if not variants:
        return None
    marks = {
        "val_accuracy_before_removal": ("s", "before removal"),
        "val_accuracy_after_removal": ("x", "after removal"),
        "val_accuracy_pruned": ("v", "if removed at once"),
    }

    def draw(axes: Axes, style: Style, variant: Variant) -> None:
        for column, (marker, name) in {} if style.faded else marks.items():
            found = [(s, v.mean) for s in study.finished(variant, column) if (v := findings.summary(variant, s, column))]
            if found:
                look = {**style.line(variant), "marker": marker, "linestyle": "" if marker == "x" else "-", "linewidth": 0.9}
                alpha = 0.5 if marker == "v" else 1.0
                axes.plot(*zip(*found, strict=True), label=name, markerfacecolor="white", alpha=alpha, **look)

    panel = Panel(draw, "state", "validation accuracy (%)", finish=integer_axis)
    figure = one_each(style, variants, [panel], f"{dataset}: what removal costs", key=True)
    caption = "The gap between squares and crosses is what removal costs; triangles: masking the units at the state's start."
    return render(figure, f"removal-{slug(dataset)}", "Before and after removal", caption)


def time(findings: Findings, style: Style, dataset: str) -> Figure | None:
    """Seconds per epoch by state: what pruning saves in training."""
    variants = [v for v in findings.study.of(dataset) if len(findings.study.epochs_of(v))]
    if not variants:
        return None

    points = {}
    for variant in variants:
        frame = findings.study.epochs_of(variant).groupby(["run", "state"])["seconds"].mean().reset_index()
        points[variant.label] = _over(frame, "state", "seconds")

    def draw(axes: Axes, style: Style, variant: Variant) -> None:
        band(axes, style, variant, points[variant.label])

    def finish(axes: Axes) -> None:
        axes.set_ylim(bottom=0)
        integer_axis(axes)

    figure = compare(style, variants, [Panel(draw, "state", "seconds per epoch", finish=finish)], f"{dataset}: time per epoch")
    caption = (
        f"Mean over a state's epochs, training and validation. Runs of different machines are not told apart.{note(variants)}"
    )
    return render(figure, f"time-{slug(dataset)}", "Time per epoch", caption)
