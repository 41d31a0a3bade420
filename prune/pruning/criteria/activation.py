"""The criterion of activations: how much of the unit its reader sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prune.architectures.group import Group
from prune.pruning.criteria.base import Criterion, Scoring

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prune.pruning.ranking import Scores


class Activation(Criterion):
    """Mean over calibration batches of |what the last reading layer reads|, over the unit's lanes and all tokens."""

    compares_kinds = False

    def scores(self, scoring: Scoring) -> Scores:
        import torch

        model, groups = scoring.model, scoring.structure.groups
        sums: dict[str, Tensor] = {}
        hooks = [
            model.get_submodule(group.readers[-1].module).register_forward_pre_hook(
                _record(sums, group.name, features_of(model, group))
            )
            for group in groups
        ]
        training = model.training
        model.eval()
        count = 0
        with torch.no_grad():
            for images, _ in scoring.batches():
                scoring.logits(images)
                count += 1
        model.train(training)
        for hook in hooks:
            hook.remove()
        return scoring.collect(lambda group: _mean_of_lanes(sums[group.name] / count, group))


def features_of(model: nn.Module, group: Group) -> int:
    """Which dimension of its input holds what the last reader reads: 1 for a convolution, the last for a linear layer."""
    return 1 if model.get_parameter(group.readers[-1].tensor).dim() > 2 else -1


def _record(sums: dict[str, Tensor], name: str, features: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that adds |input|, averaged over all dimensions but that of the features, to `sums[name]`."""

    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        mean = inputs[0].float().abs().movedim(features, -1).flatten(0, -2).mean(0)
        sums[name] = sums[name] + mean if name in sums else mean

    return hook


def _mean_of_lanes(features: Tensor, group: Group) -> Tensor:
    reader = group.readers[-1]
    units = len(features) // (reader.repeats * reader.lanes)
    return features.view(reader.repeats, units, reader.lanes).transpose(0, 1).flatten(1).mean(1)
