"""Curves of `method.scope=sensitivity`: the loss with a share of each block's units silenced, by kind and state."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm

from prune.architectures.group import Structure
from prune.report.figures.style import WIDE, Figure, canvas, heading, render
from prune.report.run import Run, Variant

Curves = dict[str, dict[str, Any]]


def curves(variant: Variant, stem: str) -> Figure | None:
    """The curves of the first pruned state and of the last one, of the variant's first run that has some."""
    for run in variant.runs:
        states = [state for state, line in run.lines.items() if line.get("sensitivity")]
        if states and run.structure is not None:
            return _picture(variant, run, run.structure, sorted({states[0], states[-1]}), stem)
    return None


def _picture(variant: Variant, run: Run, structure: Structure, states: list[int], stem: str) -> Figure:
    found: dict[int, Curves] = {state: run.lines[state]["sensitivity"] for state in states}
    kinds = [kind for kind in structure.kinds if any(group.name in found[s] for s in states for group in structure.of(kind))]
    figure = canvas((WIDE[0], 1.0 + 3.0 * len(states)))
    grid = figure.subplots(len(states), len(kinds), sharex=True, sharey="row", squeeze=False)
    blocks = 1 + max(group.block for group in structure.groups)
    colours, norm = matplotlib.colormaps["viridis"], BoundaryNorm([block - 0.5 for block in range(blocks + 1)], 256)
    for row, state in zip(grid, states, strict=True):
        for axes, kind in zip(row, kinds, strict=True):
            for group in structure.of(kind):
                _line(axes, found[state].get(group.name), colours(norm(group.block)))
            axes.set_title(f"{kind}, state {state}")
        row[0].set_ylabel("added loss")
    for axes in grid[-1]:
        axes.set_xlabel("silenced of the units that may go (%)")
    shown = range(0, blocks, -(-blocks // 12))
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(grid.flat), ticks=shown, shrink=0.9, pad=0.015)
    bar.ax.set_yticklabels([structure.label(block) for block in shown])
    bar.set_label("block (0 is next to the input)")
    heading(figure, f"{variant.dataset}, {variant.label}: loss without a block's units")
    caption = (
        "Cross-entropy on calibration batches at the start of a state, with the lowest-scored units of one block silenced, "
        "less that of the whole model; nothing is trained again. The slopes of the curves' lower convex hulls decide which "
        f"block loses the next unit. {run.key}, seed {run.seed}."
    )
    return render(figure, f"sensitivity-{stem}", f"Sensitivity: {variant.label}", caption)


def _line(axes: Axes, curve: dict[str, Any] | None, colour: Any) -> None:
    """One block's curve, over the share of those of its units that may go."""
    if curve is None:
        return
    share = [100 * units / curve["units"][-1] for units in curve["units"]]
    axes.plot(share, [loss - curve["loss"][0] for loss in curve["loss"]], "o-", color=colour, linewidth=1.4, markersize=3.5)
