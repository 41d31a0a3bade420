"""Heat maps: which share of each block's units is left in each state, a panel for each kind of unit."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from prune.report.figures.style import WIDE, Figure, canvas, render
from prune.report.study import Variant
from prune.report.survival import Survival
from prune.report.tables.pruning import survivors
from prune.report.text import count

MOST_LABELLED = 17
"""With more states than this the cells are too narrow for numbers."""


def heat_map(variant: Variant, stem: str) -> Figure | None:
    """Survival of each kind, block by block, over the states of one variant."""
    found = survivors(variant)
    if found is None:
        return None
    figure = canvas((WIDE[0], 1.7 + 0.26 * max(len(found.blocks), 6)))
    panels = figure.subplots(1, len(found.kinds), sharey=True, squeeze=False)[0]
    image = None
    for axes, kind in zip(panels, found.kinds, strict=True):
        image = _panel(axes, found, kind)
        axes.set(title=kind, xlabel="state")
    panels[0].set_ylabel("block (0 is next to the input)")
    panels[0].invert_yaxis()
    assert image is not None
    figure.colorbar(image, ax=list(panels), label="kept (%)", shrink=0.9, pad=0.015)
    figure.suptitle(f"{variant.dataset}, {variant.label}: units kept per block", fontsize=11)
    caption = f"Share of the block's dense units of each kind that is kept; mean over {count(len(variant.runs), 'run')}."
    return render(figure, f"survival-{stem}", f"Survival per block: {variant.label}", caption, wide=True)


def _panel(axes: Axes, found: Survival, kind: str):  # type: ignore[no-untyped-def]
    share = 100 * found.fraction(kind)
    columns = np.arange(len(found.states) + 1) - 0.5
    rows = np.arange(len(found.blocks) + 1) - 0.5
    image = axes.pcolormesh(columns, rows, share, cmap="cividis", vmin=0, vmax=100, edgecolors="white", linewidth=0.6)
    step = max(1, len(found.states) // 16)
    axes.set_xticks(range(0, len(found.states), step), [str(s) for s in found.states[::step]])
    axes.set_yticks(range(len(found.blocks)), [found.labels[block] for block in found.blocks])
    axes.grid(False)
    if len(found.states) <= MOST_LABELLED:
        for (block, column), value in np.ndenumerate(share):
            if value == value:
                colour = "black" if value > 55 else "white"
                label = axes.text(column, block, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=colour)
                label.set_in_layout(False)
    return image
