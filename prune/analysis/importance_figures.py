"""The figures of prune/analysis/importance.py."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize

from prune.analysis.base import Numbers, Subject
from prune.analysis.colours import SIGNED, block_name, colour_of, heading_of
from prune.analysis.plots import heat, side_by_side
from prune.report.figures.style import Figure, heading, legend_below, render

HEIGHT = 4.6
"""Inches."""


def chance_bound(count: int) -> float:
    """Beyond this a correlation of so many pairs is not chance, at 5 %: the normal approximation of its distribution."""
    return float(1.96 / np.sqrt(max(count - 1, 1)))


def correlations(subject: Subject, numbers: Numbers, kinds: list[str]) -> Figure:
    """Of each criterion: its rank correlation with the measured loss, over all units of a kind and block by block."""
    criteria = numbers["criteria"].tolist()
    figure, panels = side_by_side(kinds, HEIGHT, sharey=True)
    for axes, kind in zip(panels, kinds, strict=True):
        count = numbers[f"count/{kind}"]
        bound = chance_bound(count)
        axes.axvspan(-bound, bound, color="#e9e9e9", zorder=0, label="chance (95 %), all blocks")
        own_bounds = [chance_bound(len(numbers[f"added/{group.name}"])) for group in subject.structure.of(kind)]
        for row, criterion in enumerate(criteria):
            blocks = numbers[f"by_block.{criterion}/{kind}"]
            told = np.abs(blocks) > own_bounds
            for chosen, colour, label in ((told, "#222222", "one block"), (~told, "#ababab", "one block, within its chance")):
                strokes = blocks[chosen]
                axes.plot(strokes, np.full(len(strokes), row), "|", color=colour, markersize=11, label=None if row else label)
            own = criterion == numbers["own"]
            axes.plot(
                numbers[f"spearman.{criterion}/{kind}"], row, "o", color=colour_of(subject), markersize=9,
                markerfacecolor=colour_of(subject) if own else "white", markeredgewidth=2,
                label=None if row else "all blocks (filled: the run's criterion)",
            )  # fmt: skip
        axes.set(title=f"{kind} ({count} silenced)", xlabel="rank correlation with the loss added", xlim=(-1, 1))
        axes.set_yticks(range(len(criteria)), criteria)
    panels[0].invert_yaxis()
    heading(figure, heading_of(subject, "do scores tell what a unit is worth?"))
    legend_below(figure, panels[0], columns=3)
    caption = (
        f"Spearman's ρ between a criterion's scores and the cross-entropy that silencing each unit alone adds, on "
        f"{len(subject.images):,} validation images. 1: the order is right. A circle in the grey band, or a pale stroke, is no "
        "better than chance; of a block's few units chance has a wider band. Ranking over all blocks needs the circle to be "
        "right, ranking within blocks the strokes."
    )
    return render(figure, "importance-correlations", "Scores against measured loss", caption)


def points(subject: Subject, numbers: Numbers, kinds: list[str]) -> Figure:
    """Each silenced unit: its place by the run's criterion, and the loss that it adds."""
    own = numbers["own"]
    figure, panels = side_by_side(kinds, HEIGHT)
    markers = "os^Dv<>PX*"
    for axes, kind in zip(panels, kinds, strict=True):
        groups = [group for group in subject.structure.of(kind) if len(numbers[f"added/{group.name}"])]
        every = np.sort(np.concatenate([numbers[f"scores.{own}/{group.name}"] for group in groups]))
        shades = _shades(len(groups))
        for number, group in enumerate(groups):
            scores = numbers[f"sampled.{own}/{group.name}"]
            share = 100 * np.searchsorted(every, scores, side="right") / len(every)
            added, error = numbers[f"added/{group.name}"], 2 * numbers[f"standard_error/{group.name}"]
            axes.vlines(share, added - error, added + error, color=shades[number], linewidth=1, alpha=0.4)
            axes.plot(
                share, added, markers[number % len(markers)], color=shades[number], markersize=5,
                linestyle="", label=block_name(subject.structure, group.block),
            )  # fmt: skip
        axes.axhline(0, color="#767676", linewidth=1)
        axes.set(title=kind, xlabel=f"place by {own} (% of {kind}, lowest first)", ylabel="loss added")
    heading(figure, heading_of(subject, "what each unit's place is worth"))
    legend_below(figure, panels[0], columns=6)
    caption = (
        f"A point is a unit that was silenced alone, its line two standard errors over the images. {own} ranks from left to "
        "right: if it were right, points would rise. Points high on the left are units that would go first and are needed."
    )
    return render(figure, "importance-points", f"Place by {own} and loss", caption)


def agreement(subject: Subject, numbers: Numbers, kinds: list[str]) -> Figure:
    """Rank correlation of each two criteria over all units that are left."""
    criteria = numbers["criteria"].tolist()
    figure, panels = side_by_side(kinds, 5.6, sharey=True)
    for axes, kind in zip(panels, kinds, strict=True):
        image = heat(axes, numbers[f"agreement/{kind}"], Normalize(-1, 1), SIGNED)
        axes.set_title(kind)
        axes.set_xticks(range(len(criteria)), criteria, rotation=90)
        axes.set_yticks(range(len(criteria)), criteria)
    figure.colorbar(image, ax=panels, label="rank correlation", shrink=0.8, pad=0.015)
    heading(figure, heading_of(subject, "do criteria agree?"))
    caption = (
        "Spearman's ρ of the scores of each two criteria, over all units that are left. 1: they rank alike; near 0, as with "
        "random: one says nothing of the other. Grey: a criterion that gives all the same score."
    )
    return render(figure, "importance-agreement", "Agreement of criteria", caption)


def _shades(count: int) -> list[tuple[float, ...]]:
    """From the first block, dark, to the last, light: also apart in grey."""
    return [tuple(matplotlib.colormaps["viridis"](0.9 * number / max(count - 1, 1))) for number in range(count)]
