"""Torch-Pruning's importances as criteria (the extra `tp`): its formulas on our units, under our budget, training and resume.

Its importances look at a group as its tracer finds it: layers, and for each which channels of it belong to which channel of the
group. Here the members of our groups say that, so that there are criteria for every family of models, traced or not. Like its
tracer we leave out what is no layer's weight matrix: biases, tables, a scan's own parameters.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from prune.architectures.group import Group, Member
from prune.base.errors import UserError
from prune.pruning.criteria.base import Criterion, Scoring

if TYPE_CHECKING:
    from torch import Tensor

    from prune.pruning.ranking import Scores


@dataclass(frozen=True)
class Layer:
    """One entry of a group, with the names under which importances look for them: a layer, how it would be pruned, where.

    Attributes:
        dep: `layer` and `target.module`, `pruning_fn` and `handler`.
        idxs: entries of the layer's weight; here all of them.
        root_idxs: for each the channel of the group that it belongs to.
    """

    dep: Any
    idxs: list[int]
    root_idxs: list[int]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.dep, self.idxs))


class Importance(Criterion):
    """One of `torch_pruning.importance`. A unit of several channels (a head) has the mean of theirs.

    Importances are relative to their group's mean or sum, so there are no densities.

    Attributes:
        importance: the class's name.
    """

    compares_kinds = False
    importance: ClassVar[str]

    @classmethod
    def check(cls, config: Any) -> None:
        if importlib.util.find_spec("torch_pruning") is None:
            raise UserError(
                f"method.criterion={config.method.criterion} needs torch-pruning; install it with: pip install 'vit-prune[tp]'."
            )

    def gradients(self, scoring: Scoring, weights: list[Tensor]) -> list[Tensor] | None:
        """What the formula takes for the weights' gradients; None if it looks at none."""
        return None

    def scores(self, scoring: Scoring) -> Scores:
        import torch_pruning  # type: ignore[import-untyped]

        importance = getattr(torch_pruning.importance, self.importance)()
        model, training = scoring.model, scoring.model.training
        names = dict.fromkeys(m.tensor for group in scoring.structure.groups for m in _weights(scoring, group))
        weights: list[Any] = [model.get_parameter(name) for name in names]
        before = [weight.grad for weight in weights]
        model.eval()
        _set(weights, self.gradients(scoring, weights) or before)
        found = scoring.collect(lambda group: _score(importance, scoring, group))
        _set(weights, before)
        model.train(training)
        return found


def _weights(scoring: Scoring, group: Group) -> list[Member]:
    """The members that are the weight of a layer whose channels its importances know: linear or convolutional."""
    from torch import nn

    known = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [
        member
        for member in group.members
        if member.tensor == f"{member.module}.weight" and isinstance(scoring.model.get_submodule(member.module), known)
    ]


def _score(importance: Any, scoring: Scoring, group: Group) -> Tensor:
    import torch

    members = _weights(scoring, group)
    units = len(scoring.parts(group)[0].tensor)
    lanes = max(member.lanes for member in members)
    if not units:
        return torch.zeros(0)
    # The first entry is the group's root: its channels are the group's own, each once. That is so of a unit's reader.
    members.sort(key=lambda member: (member.repeats, -member.lanes, member.role != "reads"))
    channels = importance([_layer(scoring, member, units, lanes) for member in members])
    # 0 / 0 where the importances of the whole group are 0.
    return channels.nan_to_num(nan=0.0).view(units, lanes).mean(1)


def _layer(scoring: Scoring, member: Member, units: int, lanes: int) -> Layer:
    """A member as an entry of a group of `units` times `lanes` channels."""
    from torch import nn
    from torch_pruning import function

    module = scoring.model.get_submodule(member.module)
    kind, side = "linear" if isinstance(module, nn.Linear) else "conv", "in" if member.dim else "out"
    prune = getattr(function, f"prune_{kind}_{side}_channels")
    channels = [unit * lanes + lane * lanes // member.lanes for unit in range(units) for lane in range(member.lanes)]
    dep = SimpleNamespace(layer=module, pruning_fn=prune, target=SimpleNamespace(module=module), handler=prune)
    return Layer(dep, list(range(len(channels) * member.repeats)), channels * member.repeats)


class GroupMagnitude(Importance):
    """Sum of squares over a channel's weights in all layers, relative to the group's mean."""

    importance = "GroupMagnitudeImportance"


class LAMP(Importance):
    """Layer-adaptive magnitude (Lee et al. 2021, arXiv 2010.07611): relative to what is left once all smaller ones are gone."""

    importance = "LAMPImportance"


class FPGM(Importance):
    """Distance from all other channels of the layer: geometric median (He et al. 2019, arXiv 1811.00250)."""

    importance = "FPGMImportance"


class GroupTaylor(Importance):
    """Σ |w·∂L/∂w| (Molchanov et al. 2019, arXiv 1906.10771), L the cross-entropy over the calibration batches."""

    importance = "GroupTaylorImportance"

    def gradients(self, scoring: Scoring, weights: list[Tensor]) -> list[Tensor]:
        import torch

        total = [torch.zeros_like(weight) for weight in weights]
        for images, labels in scoring.batches():
            _add(total, _gradients(scoring, weights, images, labels))
        return total


class GroupHessian(Importance):
    """Optimal brain damage (LeCun et al. 1989): Σ w²·h, h the squared gradient of one image's loss, mean over images.

    That is a backward pass for each image of the calibration batches. Its own `accumulate_grad`, in 1.6, keeps the last image
    only, so the mean is taken here.
    """

    importance = "GroupHessianImportance"

    def gradients(self, scoring: Scoring, weights: list[Tensor]) -> list[Tensor]:
        import torch

        total, count = [torch.zeros_like(weight) for weight in weights], 0
        for images, labels in scoring.batches():
            for image, label in zip(images.split(1), labels.split(1), strict=True):
                _add(total, [gradient.square() for gradient in _gradients(scoring, weights, image, label)])
                count += 1
        return [squares / count for squares in total]


def _gradients(scoring: Scoring, weights: list[Tensor], images: Tensor, labels: Tensor) -> list[Tensor]:
    """Of the batch's mean cross-entropy; zeros where a weight takes no part in it (that of an empty branch)."""
    import torch
    from torch.nn import functional as F

    loss = F.cross_entropy(scoring.logits(images), labels)
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def _set(weights: list[Any], gradients: Sequence[Tensor | None]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient


def _add(total: list[Tensor], more: list[Tensor]) -> None:
    for sum_, addend in zip(total, more, strict=True):
        sum_ += addend
