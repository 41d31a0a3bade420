"""The figures of prune/analysis/redundancy.py."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import NullFormatter

from prune.analysis.base import Numbers, Subject
from prune.analysis.colours import DENSE, REMOVED, colour_of, heading_of, kind_by_block, now_label
from prune.analysis.plots import BOXES, Box, boxes, side_by_side, stacked
from prune.report.figures.style import Figure, heading, legend_below, render


def _images(subject: Subject) -> str:
    return f"{len(subject.images):,} validation images"


def ranks(subject: Subject, numbers: Numbers) -> Figure:
    """Effective rank by block, dense and in the state, below the number of activations that there are."""
    kinds = subject.structure.kinds
    figure, panels = side_by_side(kinds)
    series = [("dense", DENSE, "dense", "s")]
    series += [("now", colour_of(subject), now_label(subject), "o")] if subject.state else []
    for axes, kind in zip(panels, kinds, strict=True):
        groups = subject.structure.of(kind)
        for name, colour, label, marker in series:
            shift = 0 if not subject.state else 0.12 if name == "now" else -0.12
            places = np.arange(len(groups)) + shift
            features = [numbers[f"features.{name}/{group.name}"] for group in groups]
            rank = [numbers[f"rank.{name}/{group.name}"] for group in groups]
            axes.bar(places, features, width=0.2, color=colour, alpha=0.22, linewidth=0)
            axes.plot(places, rank, marker, color=colour, markersize=7, label=label)
        axes.set(ylabel="effective rank", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        kind_by_block(axes, subject.structure, kind)
    heading(figure, heading_of(subject, "effective rank of activations"))
    legend_below(figure, panels[0])
    caption = (
        f"Dots: in how many directions the activations of a block's units vary to any extent (participation ratio), on "
        f"{_images(subject)}. Bars: how many activations there are. A dot far below its bar: most of what varies lies in few "
        "directions."
    )
    return render(figure, "redundancy-rank", "Effective rank of activations", caption)


def alike(subject: Subject, numbers: Numbers) -> Figure:
    """In the dense model: how alike each unit is to the unit most like it, kept and removed apart."""
    kinds = subject.structure.kinds
    figure, panels = stacked(kinds)
    for axes, kind in zip(panels, kinds, strict=True):
        groups = subject.structure.of(kind)
        every = [numbers[f"closest.dense/{group.name}"] for group in groups]
        if subject.state:
            stay = [np.isin(np.arange(g.count), numbers[f"kept/{g.name}"]) for g in groups]
            removed = [values[~mask] for values, mask in zip(every, stay, strict=True)]
            kept = [values[mask] for values, mask in zip(every, stay, strict=True)]
            boxes(axes, [Box("removed by then", REMOVED, removed, "///", marker="X"), Box("kept", colour_of(subject), kept)])
        else:
            boxes(axes, [Box("dense", DENSE, every)])
        axes.set(ylabel="largest |cosine|", ylim=(0, 1.02))
        kind_by_block(axes, subject.structure, kind)
    heading(figure, heading_of(subject, "the most alike unit, in the dense model"))
    legend_below(figure, panels[0])
    caption = (
        f"Of each unit of the dense model: how alike its activations are to those of the unit of its block that is most like "
        f"it (|cosine| of centred activations, {_images(subject)}; 1: a copy but for its size). {BOXES}"
    )
    if subject.state:
        caption += " Where the removed units lie higher than the kept ones, pruning took what others repeat more."
    return render(figure, "redundancy-alike", "Units that are alike", caption)


def explained(subject: Subject, numbers: Numbers) -> Figure:
    """Variance that the kept units explain, beside that of as many random ones."""
    kinds = subject.structure.kinds
    figure, panels = side_by_side(kinds, sharey=True)
    draws = len(numbers[f"chance/{subject.structure.groups[0].name}"])
    for axes, kind in zip(panels, kinds, strict=True):
        groups = subject.structure.of(kind)
        places = np.arange(len(groups))
        chance = 100 * np.stack([numbers[f"chance/{group.name}"] for group in groups])
        kept = [100 * numbers[f"explained/{group.name}"] for group in groups]
        share = [100 * len(numbers[f"kept/{group.name}"]) / group.count for group in groups]
        axes.bar(places, share, width=0.5, color="#e4e4e4", label="units kept (%)")
        random = f"as many random units, {draws} draws"
        axes.vlines(places, chance.min(1), chance.max(1), color=REMOVED, linewidth=6, label=random)
        axes.plot(places, kept, "o", color=colour_of(subject), markersize=7, label="kept units")
        axes.set(ylim=(0, 103))
        kind_by_block(axes, subject.structure, kind)
    panels[0].set_ylabel("variance explained (%)")
    heading(figure, heading_of(subject, "what the kept units explain of the dense model"))
    legend_below(figure, panels[0])
    caption = (
        "How much of the variance of all the dense model's activations of a block follows linearly from those of the kept "
        f"units. Above the grey line: more than each of {draws} random choices; by chance one in {draws + 1} would be. "
        "Near 100 %: what was removed follows from what stayed."
    )
    return render(figure, "redundancy-explained", "Variance that kept units explain", caption)
