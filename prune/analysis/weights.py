"""How large weights are: by kind of unit and block, dense and in a state; units that were kept and removed apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from prune.analysis.base import Analysis, Numbers, Shown, Subject
from prune.analysis.colours import DENSE, REMOVED, colour_of, heading_of, kind_by_block, now_label
from prune.analysis.plots import BOXES, Box, boxes, side_by_side, stacked
from prune.architectures.group import Group, Member
from prune.pruning.slices import by_unit
from prune.report.figures.style import Figure, heading, legend_below, render

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Weights(Analysis):
    """Quantiles of |w| over the weight matrices of a group's units, and each unit's norm.

    The norm is (Σ w²)^½ over all tensors of a unit, biases included: the criterion `group_magnitude`. For a state s ≥ 1 it is
    also taken in the model that the state began from, where the units that the state removed are still there.
    """

    title = "Weights"
    most_images = 0
    compares = ("dense", "before")

    def measure(self, subject: Subject) -> Numbers:
        numbers: Numbers = {}
        models = {"now": subject.now, "dense": subject.dense} | ({"before": subject.before} if subject.state else {})
        for group in subject.track(subject.structure.groups, len(subject.structure.groups)):
            for name, snapshot in models.items():
                numbers[f"norm.{name}/{group.name}"] = unit_norms(snapshot.model, group)
                numbers[f"units.{name}/{group.name}"] = snapshot.keep[group.name].numpy()
                if name != "before":
                    numbers[f"quantiles.{name}/{group.name}"] = weight_quantiles(snapshot.model, group)
        return numbers

    def show(self, subject: Subject, numbers: Numbers) -> Shown:
        figures = [_quantile_figure(subject, numbers), _norm_figure(subject, numbers)]
        return Shown(figures, [_difference(subject, numbers, kind) for kind in subject.structure.kinds if subject.state])


def unit_norms(model: nn.Module, group: Group) -> np.ndarray:
    """The L2 norm of each of a group's units in a model, over all its tensors: (units)."""
    squares = [_by_unit(model, group, member).square().sum(1) for member in group.members]
    return torch.stack(squares).sum(0).sqrt().numpy()


def weight_quantiles(model: nn.Module, group: Group) -> np.ndarray:
    """`QUANTILES` of |w| over the weight matrices of a group's units; nan where no unit is left."""
    values = [_by_unit(model, group, member).flatten().abs() for member in group.members if member.matrix]
    every = torch.cat(values).numpy()
    return np.quantile(every, QUANTILES) if every.size else np.full(len(QUANTILES), np.nan)


def _by_unit(model: nn.Module, group: Group, member: Member) -> Tensor:
    return by_unit(model.get_parameter(member.tensor).detach(), member).flatten(1).double().cpu()


def kept_and_removed(numbers: Numbers, group: str) -> tuple[np.ndarray, np.ndarray]:
    """Norms, in the model that a state began from, of the units that it kept and of those that it removed."""
    norms = numbers[f"norm.before/{group}"]
    stayed = np.isin(numbers[f"units.before/{group}"], numbers[f"units.now/{group}"])
    return norms[stayed], norms[~stayed]


def _difference(subject: Subject, numbers: Numbers, kind: str) -> str:
    pairs = [kept_and_removed(numbers, group.name) for group in subject.structure.of(kind)]
    kept, removed = (np.concatenate(norms) for norms in zip(*pairs, strict=True))
    if not len(removed):
        return f"State {subject.state} removed no {kind}."
    if not len(kept):
        return f"State {subject.state} removed all {kind}."
    return (
        f"Before the removal, the {len(removed)} {kind} that state {subject.state} removed had a median norm of "
        f"{np.median(removed):.3g}, the {len(kept)} that it kept {np.median(kept):.3g}."
    )


def _quantile_figure(subject: Subject, numbers: Numbers) -> Figure:
    kinds = subject.structure.kinds
    figure, panels = side_by_side(kinds)
    series = [("dense", DENSE, "dense")]
    series += [("now", colour_of(subject), now_label(subject))] if subject.state else []
    for axes, kind in zip(panels, kinds, strict=True):
        groups = subject.structure.of(kind)
        for name, colour, label in series:
            found = np.stack([numbers[f"quantiles.{name}/{group.name}"] for group in groups]).T
            places = np.arange(len(groups)) + (0.12 if name == "now" else -0.12 if subject.state else 0)
            axes.vlines(places, found[0], found[4], color=colour, linewidth=1.2)
            axes.vlines(places, found[1], found[3], color=colour, linewidth=5, alpha=0.55)
            axes.plot(places, found[2], "o", color=colour, label=label)
        axes.set(ylabel="|w|", ylim=(0, None))
        kind_by_block(axes, subject.structure, kind)
    heading(figure, heading_of(subject, "weights by block"))
    legend_below(figure, panels[0])
    caption = (
        "Of the weights of a block's units: the median (dot), the middle half (thick) and the middle 90 % (thin) of |w|. "
        "Where a state's bar is lower than the dense one, the weights that are left are smaller."
    )
    return render(figure, "weights-quantiles", "Size of weights by block", caption)


def _norm_figure(subject: Subject, numbers: Numbers) -> Figure:
    kinds, colour = subject.structure.kinds, colour_of(subject)
    figure, panels = stacked(kinds)
    for axes, kind in zip(panels, kinds, strict=True):
        groups = subject.structure.of(kind)
        now = [numbers[f"norm.now/{group.name}"] for group in groups]
        if subject.state:
            pairs = [kept_and_removed(numbers, group.name) for group in groups]
            removed = Box("removed, before", REMOVED, [norms for _, norms in pairs], "///", marker="X")
            kept = Box("kept, before", colour, [norms for norms, _ in pairs])
            boxes(axes, [removed, kept, Box("kept, in the state's best model", colour, now, "...", 0.25, "D")])
        else:
            boxes(axes, [Box("dense", DENSE, now)])
        axes.set(ylabel="norm of a unit", ylim=(0, None))
        kind_by_block(axes, subject.structure, kind)
    heading(figure, heading_of(subject, "norms of units"))
    legend_below(figure, panels[0])
    caption = BOXES
    if subject.state:
        began, which = subject.began_from
        caption += (
            f" Before: in the {which} model of state {began}, from which the state began. Where removed units lie as high as "
            "kept ones, the state removed units that were not small."
        )
    return render(figure, "weights-norms", "Norms of units by block", caption)
