"""The figures of prune/analysis/errors.py."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes

from prune.analysis.base import Numbers, Subject
from prune.analysis.colours import DENSE, colour_of, heading_of, now_label
from prune.analysis.judging import bins_of, flipped
from prune.analysis.plots import bare, photograph
from prune.base.text import printable
from prune.report.figures.style import SMALL, WIDE, Figure, canvas, heading, legend_below, render

MOST_NAMED = 20
"""Classes that are named on an axis; of more, each is a dot."""

SHOWN = 8
"""Images of a kind that are shown."""

CLASS_NAME = 12
"""Characters of a class's name beside a picture."""


def classes(subject: Subject, numbers: Numbers) -> Figure:
    """Accuracy by class, dense beside pruned."""
    names = [printable(name) for name in subject.images.facts.classes]
    few = np.bincount(numbers["labels"], minlength=len(names))
    figure = canvas((SMALL[0], 1.6 + 0.27 * len(names)) if len(names) <= MOST_NAMED else (5.4, 5.4))
    axes = figure.subplots()
    _dumbbells(axes, subject, numbers, names) if len(names) <= MOST_NAMED else _scatter(axes, subject, numbers)
    heading(figure, heading_of(subject, "accuracy by class"))
    if len(names) <= MOST_NAMED:
        legend_below(figure, axes)
    caption = (
        f"On {len(numbers['labels']):,} validation images, {few.min()} to {few.max()} of a class: one image is "
        f"{100 / max(1, few.max()):.1f} points or more, so single classes differ by chance. "
    )
    caption += (
        "A line joins dense and pruned; a class without a line is the same in both."
        if len(names) <= MOST_NAMED
        else "A dot is a class; larger ones stand for several. Below the line a class is worse after pruning."
    )
    return render(figure, "errors-classes", "Accuracy by class", caption)


def _dumbbells(axes: Axes, subject: Subject, numbers: Numbers, names: list[str]) -> None:
    dense, now = numbers["by_class.dense"], numbers["by_class.now"]
    places = np.arange(len(names))
    if subject.state:
        axes.hlines(places, dense, now, color="#b5b5b5", linewidth=2)
        axes.plot(dense, places, "s", color=DENSE, markersize=8, markerfacecolor="white", label="dense")
    axes.plot(now, places, "o", color=colour_of(subject), label=now_label(subject))
    axes.set_yticks(places, [name if len(name) <= 24 else f"{name[:23]}…" for name in names])
    axes.set(xlabel="validation accuracy (%)", ylabel="class")
    axes.set_xlim(right=101)
    axes.invert_yaxis()


def _scatter(axes: Axes, subject: Subject, numbers: Numbers) -> None:
    dense, now = numbers["by_class.dense"], numbers["by_class.now"]
    if not subject.state:
        axes.plot(np.sort(now), ".", color=DENSE)
        axes.set(xlabel="class, by accuracy", ylabel="validation accuracy (%)")
        return
    known = ~np.isnan(dense) & ~np.isnan(now)
    points, counts = np.unique(np.stack([dense[known], now[known]]), axis=1, return_counts=True)
    axes.plot([0, 100], [0, 100], color="#b5b5b5", linewidth=1, zorder=0)
    axes.scatter(points[0], points[1], s=24 * np.sqrt(counts), color=colour_of(subject), alpha=0.7, linewidths=0)
    low = min(points.min(), 95) - 4
    axes.set(xlim=(low, 102), ylim=(low, 102), aspect="equal")
    axes.set(xlabel="dense: validation accuracy (%)", ylabel=f"{now_label(subject)}: validation accuracy (%)")


def calibration(subject: Subject, numbers: Numbers) -> Figure:
    """Accuracy against confidence, and how many images have it."""
    figure = canvas((SMALL[0], 5.4))
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 100], [0, 100], color="#b5b5b5", linewidth=1)
    series = [("dense", DENSE, "dense", "s", "--")] if subject.state else []
    for name, colour, label, marker, line in [*series, ("now", colour_of(subject), now_label(subject), "o", "-")]:
        right = numbers[f"predicted.{name}"] == numbers["labels"]
        count, mean, accuracy = bins_of(numbers[f"confidence.{name}"], right)
        known = count > 0
        axes.plot(100 * mean[known], 100 * accuracy[known], marker=marker, linestyle=line, color=colour, label=label)
        below.stairs(count, np.linspace(0, 100, len(count) + 1), color=colour, linestyle=line, linewidth=1.5)
    axes.set(ylabel="accuracy (%)", xlim=(0, 100), ylim=(0, 101))
    below.set(xlabel="confidence (%)", ylabel="images", yscale="symlog", ylim=(0, None))
    heading(figure, heading_of(subject, "calibration"))
    legend_below(figure, axes)
    caption = (
        f"{len(numbers['labels']):,} validation images in 15 bins by the probability of the predicted class. Below the "
        "diagonal a model is surer than it is right. Bins with few images (lower axes) say little."
    )
    return render(figure, "errors-calibration", "Calibration", caption)


def flips(subject: Subject, numbers: Numbers) -> Figure:
    """Images that one of the two models has right and the other not: the first of each."""
    lost, won = flipped(numbers)
    rows = [(text, found) for text, found in (("right in dense only", lost), ("right after pruning only", won)) if len(found)]
    figure = canvas((WIDE[0], 1.0 + 1.95 * len(rows)))
    grid = figure.subplots(len(rows), SHOWN, squeeze=False)
    names = [printable(name) for name in subject.images.facts.classes]
    for line, (text, found) in zip(grid, rows, strict=True):
        _, pixels = subject.images.some(torch.as_tensor(found[:SHOWN]))
        for axes, place, image in zip(line, found, pixels, strict=False):
            photograph(axes, image)
            label, wrong = names[numbers["labels"][place]], _wrong(numbers, int(place))
            axes.set_xlabel(f"{_short(label)}\nnot {_short(names[wrong])}", fontsize=8.5)
        for axes in line:
            bare(axes)
        line[0].set_ylabel(f"{text}\n({len(found)})", fontsize=9)
        for axes in line[len(found) :]:
            axes.set_visible(False)
    heading(figure, heading_of(subject, "images that changed sides"))
    caption = (
        f"The first {SHOWN} of each, with the right class and what the other model took it for. Which images change "
        "sides, and how many both ways, says more than the difference of two accuracies."
    )
    return render(figure, "errors-flips", "Images that changed sides", caption)


def _wrong(numbers: Numbers, place: int) -> int:
    """What the model that is wrong takes an image for."""
    now, dense = int(numbers["predicted.now"][place]), int(numbers["predicted.dense"][place])
    return dense if now == int(numbers["labels"][place]) else now


def _short(name: str) -> str:
    return name if len(name) <= CLASS_NAME else f"{name[: CLASS_NAME - 1]}…"
