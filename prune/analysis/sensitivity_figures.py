"""The figures of prune/analysis/sensitivity.py."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.colors import SymLogNorm

from prune.analysis.base import Numbers, Subject
from prune.analysis.colours import HARM, REMOVED, block_ticks, heading_of
from prune.analysis.plots import heat
from prune.report.figures.style import WIDE, Figure, canvas, heading, render


def heat_map(subject: Subject, numbers: Numbers, kind: str, last: int) -> Figure:
    """Loss added by each part of a block's units, and beside it the share that the last state has removed."""
    groups = [group for group in subject.structure.of(kind) if f"loss.all/{group.name}" in numbers]
    single = all(f"scores/{group.name}" not in numbers for group in groups)
    parts = [numbers[f"loss.parts/{group.name}"] for group in groups]
    columns = max(group.count for group in groups) if single else max(map(len, parts))
    added = np.full((len(groups), columns + 1), np.nan)
    for row, (group, losses) in enumerate(zip(groups, parts, strict=True)):
        places = numbers[f"units/{group.name}"] if single else np.arange(len(losses))
        added[row, places] = losses - numbers["loss"]
        added[row, -1] = numbers[f"loss.all/{group.name}"][0] - numbers["loss"]
    figure = canvas((WIDE[0], 2.0 + 0.36 * max(len(groups), 4)))
    axes, beside = figure.subplots(1, 2, width_ratios=(5, 1), sharey=True)
    top = float(np.nanmax(np.abs(added))) or 1.0
    image = heat(axes, added, -top, top, HARM + "_r", SymLogNorm(top / 100, vmin=-top, vmax=top), digits=3)
    axes.axvline(columns - 0.5, color="black", linewidth=1.2)
    labels = [str(number) for number in range(columns)] if single else _tenths(columns)
    axes.set_xticks(range(columns + 1), [*labels, "all"], rotation=0 if columns <= 16 else 90)
    axes.set(ylabel="block", xlabel=f"{kind}, by index" if single else f"tenths of the block's {kind}, lowest scores first")
    block_ticks(axes, [subject.structure.label(group.block) for group in groups], "y")
    if single and last > subject.state:
        for row, group in enumerate(groups):
            for unit in np.setdiff1d(numbers[f"units/{group.name}"], numbers.get(f"left/{group.name}", [])):
                axes.plot(unit, row + 0.36, "v", color="black", markersize=5, markeredgewidth=0)
    gone = [100 * (1 - len(numbers.get(f"left/{g.name}", [])) / g.count) for g in groups]
    beside.barh(range(len(groups)), gone, color=REMOVED, height=0.7)
    beside.set(xlabel="removed (%)", xlim=(0, 100), title=f"by state {last}")
    power = 10.0 ** math.floor(math.log10(top))
    ticks = [-power, -power / 10, 0, power / 10, power]
    figure.colorbar(image, ax=[axes, beside], label="loss added", pad=0.015, format="{x:g}", ticks=ticks)
    heading(figure, heading_of(subject, f"loss added by silencing {kind}"))
    caption = (
        f"Cross-entropy on {len(subject.images):,} validation images minus that of the whole model "
        f"({numbers['loss']:.3f}), with one {'unit' if single else 'tenth of a block'}, or all of a block's {kind}, "
        "silenced and nothing trained again. Orange: it is needed; white: it is not; purple: better without. Grey: no longer "
        "there."
    )
    if single and last > subject.state:
        caption += f" A mark: state {last} has removed it; on orange it was needed here and went all the same."
    else:
        caption += " Right: where the bars are long and the row is orange, the run removed what this model needs."
    return render(figure, f"sensitivity-{kind}", f"Loss added by silencing {kind}", caption)


def _tenths(columns: int) -> list[str]:
    return [f"{number + 1}" for number in range(columns)]
