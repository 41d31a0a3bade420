"""The figures of prune/analysis/sensitivity.py."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm

from prune.analysis.base import Numbers, Subject
from prune.analysis.colours import REMOVED, SIGNED, block_ticks, heading_of
from prune.analysis.plots import heat
from prune.architectures.group import Group
from prune.report.figures.style import WIDE, Figure, canvas, heading, render


def heat_map(subject: Subject, numbers: Numbers, kind: str, last: int) -> Figure:
    """Loss added by each part of a block's units, and beside it the share that the last state has removed."""
    groups = [group for group in subject.structure.of(kind) if f"loss.all/{group.name}" in numbers]
    single = f"scores/{groups[0].name}" not in numbers
    added, errors = _cells(numbers, groups, single)
    columns = added.shape[1] - 1
    figure = canvas((WIDE[0], 2.0 + 0.36 * max(len(groups), 4)))
    axes, beside = figure.subplots(1, 2, width_ratios=(5, 1), sharey=True)
    top = float(np.nanmax(np.abs(added))) or 1.0
    norm = SymLogNorm(top / 100, vmin=-top, vmax=top)
    image = heat(axes, added, norm, SIGNED, digits=3, blank=~(np.abs(added) > 2 * errors))
    axes.axvline(columns - 0.5, color="black", linewidth=1.2)
    labels = [str(number if single else number + 1) for number in range(columns)]
    axes.set_xticks(range(columns + 1), [*labels, "all"], rotation=0 if columns <= 16 else 90)
    axes.set(ylabel="block", xlabel=f"{kind}, by index" if single else f"tenths of the block's {kind}, lowest scores first")
    block_ticks(axes, [subject.structure.label(group.block) for group in groups], "y")
    marked = single and last > subject.state
    if marked:
        _mark_removed(axes, numbers, groups)
    gone = [100 * (1 - len(numbers.get(f"left/{group.name}", [])) / group.count) for group in groups]
    beside.barh(range(len(groups)), gone, color=REMOVED, height=0.7)
    beside.set(xlabel="removed (%)", xlim=(0, 100), title=f"by state {last}")
    power = 10.0 ** math.floor(math.log10(top))
    ticks = [-power, -power / 10, 0, power / 10, power]
    figure.colorbar(image, ax=[axes, beside], label="loss added", pad=0.015, format="{x:g}", ticks=ticks)
    heading(figure, heading_of(subject, f"loss added by silencing {kind}"))
    part = "unit" if single else "tenth of a block (of fewer than ten units each)"
    caption = (
        f"Cross-entropy on {len(subject.images):,} validation images minus that of the whole model ({numbers['loss']:.3f}), "
        f"with one {part}, or all of a block's {kind}, silenced and nothing trained again. Orange: the loss grows without; "
        "purple: it shrinks; white: not told from no change (two standard errors over the images). Grey: no such unit. "
    )
    return render(
        figure, f"sensitivity-{kind}", f"Loss added by silencing {kind}", caption + _beside(subject.state, last, marked)
    )


def _beside(state: int, last: int, marked: bool) -> str:
    """How to read what stands beside the map, or in it, of what was removed."""
    if marked:
        return f"A mark: state {last} has removed it; on orange it was needed here and went all the same."
    if last > state:
        return f"Right: what state {last} has removed. Much, where “all” is dark: units went from where they are needed."
    return "Right: what is no longer there."


def _cells(numbers: Numbers, groups: Sequence[Group], single: bool) -> tuple[np.ndarray, np.ndarray]:
    """(blocks, parts and all): the loss added, and its standard error; nan where there is no such part."""
    parts = [numbers[f"loss.parts/{group.name}"] for group in groups]
    columns = max(group.count for group in groups) if single else max(map(len, parts))
    added, errors = np.full((2, len(groups), columns + 1), np.nan)
    for row, (group, losses) in enumerate(zip(groups, parts, strict=True)):
        places = numbers[f"units/{group.name}"] if single else np.arange(len(losses))
        added[row, places] = losses - numbers["loss"]
        added[row, -1] = numbers[f"loss.all/{group.name}"][0] - numbers["loss"]
        errors[row, places] = numbers[f"standard_error.parts/{group.name}"]
        errors[row, -1] = numbers[f"standard_error.all/{group.name}"][0]
    return added, errors


def _mark_removed(axes: Axes, numbers: Numbers, groups: Sequence[Group]) -> None:
    """A mark at the foot of each cell whose unit the last state no longer has."""
    for row, group in enumerate(groups):
        for unit in np.setdiff1d(numbers[f"units/{group.name}"], numbers.get(f"left/{group.name}", [])):
            axes.plot(unit, row + 0.36, "v", color="black", markersize=5, markeredgewidth=0)
