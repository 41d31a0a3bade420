"""Heat maps: which share of each block's units is left in each state, a panel for each kind of unit."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure as Canvas

from prune.base.text import count
from prune.report.figures.style import WIDE, Figure, canvas, heading, render
from prune.report.run import Variant
from prune.report.survival import Survival
from prune.report.tables.pruning import survivors

NUMBER = 0.26
"""Inches of a cell that has room for a number."""

MOST_LABELLED = 8
"""States of a panel that have numbers."""


def heat_map(variant: Variant, stem: str) -> Figure | None:
    """Survival of each kind, block by block, over the states of one variant."""
    found = survivors(variant)
    if found is None:
        return None
    caption = f"Share of the block's dense units of each kind that is kept; mean over {count(len(variant.runs), 'run')}."
    if any(np.isnan(found.fraction(kind)).any() for kind in found.kinds):
        caption += " Grey: the block has none, or no run tells."
    title = f"{variant.dataset}, {variant.label}: units kept per block"
    return render(picture(found, title), f"survival-{stem}", f"Survival per block: {variant.label}", caption)


def picture(found: Survival, title: str) -> Canvas:
    """A panel for each kind, side by side."""
    figure = canvas((WIDE[0], 1.8 + 0.26 * max(len(found.blocks), 6)))
    panels = figure.subplots(1, len(found.kinds), sharey=True, squeeze=False)[0]
    cell = (WIDE[0] - 2.0) / len(found.kinds) / len(found.states)
    step = max(math.ceil(NUMBER / cell), math.ceil(len(found.states) / MOST_LABELLED))
    for axes, kind in zip(panels, found.kinds, strict=True):
        image = _panel(axes, found, kind, step)
        axes.set(title=kind, xlabel="state")
    panels[0].set_ylabel("block (0 is next to the input)")
    panels[0].invert_yaxis()
    figure.colorbar(image, ax=list(panels), label="kept (%)", shrink=0.9, pad=0.015)
    heading(figure, title)
    return figure


def _panel(axes: Axes, found: Survival, kind: str, step: int) -> QuadMesh:
    """A kind's heat map, with the numbers of each so-manieth state, the last among them."""
    share = 100 * found.fraction(kind)
    columns = np.arange(len(found.states) + 1) - 0.5
    rows = np.arange(len(found.blocks) + 1) - 0.5
    # One picture within the SVG: as paths, hundreds of cells are most of a page.
    image = axes.pcolormesh(
        columns, rows, share, cmap="cividis", vmin=0, vmax=100, edgecolors="white", linewidth=0.6, rasterized=True
    )
    labelled = range((len(found.states) - 1) % step, len(found.states), step)
    axes.set_xticks(labelled, [str(found.states[column]) for column in labelled])
    axes.set_yticks(range(len(found.blocks)), [found.labels[block] for block in found.blocks])
    axes.set_facecolor("#d9d9d9")
    axes.grid(False)
    for (block, column), value in np.ndenumerate(share):
        if value == value and column in labelled:
            colour = "black" if value > 55 else "white"
            label = axes.text(column, block, f"{value:.0f}", ha="center", va="center", fontsize=7.5, color=colour)
            label.set_in_layout(False)
    return image
