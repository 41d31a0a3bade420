"""The criterion of activations: how much of the unit its reader sees."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from prune.architectures.group import Group
from prune.pruning.criteria.base import Criterion, Scoring
from prune.pruning.ranking import Scores


class Activation(Criterion):
    """Mean over calibration batches of |what the last reading layer reads|, over the unit's lanes and all tokens."""

    @torch.no_grad()
    def scores(self, scoring: Scoring) -> Scores:
        model, groups = scoring.model, scoring.structure.groups
        sums: dict[str, Tensor] = {}
        hooks = [
            model.get_submodule(group.readers[-1].module).register_forward_pre_hook(_record(sums, group.name))
            for group in groups
        ]
        training = model.training
        model.eval()
        count = 0
        for images, _ in scoring.batches():
            model(images)
            count += 1
        model.train(training)
        for hook in hooks:
            hook.remove()
        return scoring.collect(lambda group: _mean_of_lanes(sums[group.name] / count, group))

    def densities(self, scoring: Scoring) -> Scores:
        raise ValueError("activations of different kinds cannot be compared")  # refused when composing


def _record(sums: dict[str, Tensor], name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that adds |input|, its features last, averaged over everything else, to `sums[name]`."""

    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        mean = inputs[0].float().abs().flatten(0, -2).mean(0)
        sums[name] = sums[name] + mean if name in sums else mean

    return hook


def _mean_of_lanes(features: Tensor, group: Group) -> Tensor:
    reader = group.readers[-1]
    units = len(features) // (reader.repeats * reader.lanes)
    return features.view(reader.repeats, units, reader.lanes).transpose(0, 1).flatten(1).mean(1)
