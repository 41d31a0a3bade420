"""The figures of prune/analysis/attention.py."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes

from prune.analysis.base import Numbers, Subject
from prune.analysis.colours import DENSE, REMOVED, SHARE, block_ticks, colour_of, heading_of, now_label
from prune.analysis.plots import bare, photograph
from prune.report.figures.style import WIDE, Figure, canvas, heading, legend_below, render

GAP = 1
"""Cells between two maps of a mosaic."""

FEWEST_CELLS = 12
"""Along a map's shorter side."""


def maps_figure(subject: Subject, numbers: Numbers, sample: int) -> Figure:
    """One image, and every head's map of it, dense beside pruned: a row is a block, a column a head."""
    groups = [group for group in subject.structure.groups if f"maps.dense/{group.name}" in numbers]
    panels = {"dense": "dense"} | ({"now": now_label(subject)} if subject.state else {})
    most = max(group.count for group in groups)
    figure = canvas((WIDE[0], min(1.5 + 8.0 / len(panels) / most * len(groups), 14)))
    axes = figure.subplots(1, 1 + len(panels), width_ratios=(1, *[4] * len(panels)))
    _, (image,) = subject.images.some(torch.as_tensor(numbers["sampled"][sample : sample + 1]))
    bare(axes[0])
    photograph(axes[0], image)
    axes[0].set_title("image")
    fine = np.max([numbers[f"maps.dense/{group.name}"].shape[2:] for group in groups], axis=0)
    fine = fine * -(-FEWEST_CELLS // fine.min())
    for place, (name, title) in zip(axes[1:], panels.items(), strict=True):
        rows = []
        for group in groups:
            cells = np.full((most, *fine), np.nan)
            for unit, found in zip(
                numbers[f"units.{name}/{group.name}"], numbers[f"maps.{name}/{group.name}"][sample], strict=True
            ):
                cells[unit] = _enlarged(found / max(found.max(), 1e-12), fine)
            rows.append(cells)
        _mosaic(place, np.stack(rows), fine)
        place.set(title=title, xlabel="head")
        block_ticks_at(place, [subject.structure.label(group.block) for group in groups], fine[0] + GAP)
    axes[1].set_ylabel("block")
    for place in axes[2:]:
        place.set_yticklabels([])
    view = next(iter(subject.architecture.attention(subject.dense.model).values()))
    who = "the class token attends to" if view.shown is not None else "is attended to, mean over all tokens"
    where = "" if view.whole_image else " within their windows"
    heading(figure, heading_of(subject, f"attention maps, image {numbers['sampled'][sample]}"))
    caption = (
        f"Each small map: what {who}{where}, bright is much (each map by its own largest weight). Columns are a block's heads; "
        "grey: the head was removed, or the block has no such head."
    )
    return render(figure, f"attention-maps-{sample}", "Attention maps by head", caption)


def _enlarged(found: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A map in as many cells as the finest has, without smoothing."""
    rows, columns = (np.arange(int(n)) * m // int(n) for n, m in zip(size, found.shape, strict=True))
    return found[np.ix_(rows, columns)]


def _mosaic(axes: Axes, cells: np.ndarray, fine: np.ndarray) -> None:
    """Maps, (rows, columns, height, width), in one picture with white lines between them."""
    height, width = int(fine[0]) + GAP, int(fine[1]) + GAP
    rows, columns = cells.shape[:2]
    whole = np.zeros((rows * height - GAP, columns * width - GAP))
    lines = np.ones_like(whole, dtype=bool)
    for row in range(rows):
        for column in range(columns):
            place = np.s_[row * height : row * height + int(fine[0]), column * width : column * width + int(fine[1])]
            whole[place], lines[place] = cells[row, column], False
    axes.set_facecolor("#d9d9d9")
    axes.imshow(whole, cmap=SHARE, vmin=0, vmax=1, interpolation="nearest")
    axes.imshow(np.where(lines, 1.0, np.nan), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.grid(False)
    axes.set_xticks(np.arange(columns) * width + (width - GAP - 1) / 2, [str(column) for column in range(columns)])


def block_ticks_at(axes: Axes, labels: list[str], step: int) -> None:
    """Names of the blocks beside the rows of a mosaic."""
    axes.set_yticks(np.arange(len(labels)) * step + (step - GAP - 1) / 2, labels)


def rollout_figure(subject: Subject, numbers: Numbers) -> Figure:
    """Sample images, and below each the rollout of the dense model and of the state's."""
    rows = {"dense": "dense"} | ({"now": now_label(subject)} if subject.state else {})
    count = len(numbers["sampled"])
    figure = canvas((WIDE[0], 0.9 + 2.2 * (1 + len(rows))))
    grid = figure.subplots(1 + len(rows), count, squeeze=False)
    _, images = subject.images.some(torch.as_tensor(numbers["sampled"]))
    for axes, image, number in zip(grid[0], images, numbers["sampled"], strict=True):
        photograph(axes, image)
        axes.set_title(f"image {number}")
    for line, (name, label) in zip(grid[1:], rows.items(), strict=True):
        for axes, found in zip(line, numbers[f"rollout.{name}"], strict=True):
            axes.imshow(found, cmap=SHARE, vmin=0, interpolation="nearest")
        line[0].set_ylabel(label)
    grid[0][0].set_ylabel("image")
    for axes in grid.flatten():
        bare(axes)
    heading(figure, heading_of(subject, "attention rollout"))
    caption = (
        "How much of each patch reaches the output through the attention of all blocks, half of each block's output being its "
        "input (rollout). Bright is much, each map by its own largest. It knows nothing of values and MLPs."
    )
    return render(figure, "attention-rollout", "Attention rollout", caption)


def heads_figure(subject: Subject, numbers: Numbers) -> Figure:
    """Distance and entropy of each dense head by block: filled where it was kept."""
    groups = [group for group in subject.structure.groups if f"distance.dense/{group.name}" in numbers]
    figure = canvas(WIDE)
    panels = figure.subplots(1, 2)
    for axes, measure, label in zip(panels, ("distance", "entropy"), ("mean distance (pixels)", "entropy (nats)"), strict=True):
        for row, group in enumerate(groups):
            values, units = numbers[f"{measure}.dense/{group.name}"], numbers[f"units.dense/{group.name}"]
            spread = row + np.linspace(-0.28, 0.28, len(values)) * (len(values) > 1)
            if not subject.state:
                axes.plot(spread, values, "o", color=DENSE, label=None if row else "head")
                continue
            stay = np.isin(units, numbers[f"units.now/{group.name}"])
            for chosen, found, mark, look in (
                (~stay, values[~stay], "x", {"color": REMOVED, "markeredgewidth": 2, "label": "dense head, removed"}),
                (stay, values[stay], "o", {"color": DENSE, "label": "dense head, kept"}),
                (stay, numbers[f"{measure}.now/{group.name}"], "D", {
                    "color": colour_of(subject), "markerfacecolor": "white", "label": f"the same head in {now_label(subject)}",
                }),
            ):  # fmt: skip
                drawn = axes.plot(spread[chosen], found, mark, **look)
                if row:
                    drawn[0].set_label(None)
        axes.set(xlabel="block", ylabel=label, ylim=(0, None))
        block_ticks(axes, [subject.structure.label(group.block) for group in groups])
    heading(figure, heading_of(subject, "how far and how widely heads attend"))
    legend_below(figure, panels[0])
    caption = (
        f"Mean over all queries of {len(subject.images):,} validation images. Low distance: the head looks nearby; low "
        "entropy: at few tokens. If pruning chose by such a habit, crosses and dots would lie apart."
    )
    return render(figure, "attention-heads", "How far and how widely heads attend", caption)
