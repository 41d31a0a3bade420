"""The criterion of gradients: how much the loss would change without the unit, to first order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prune.architectures.group import Group
from prune.pruning.criteria.base import Criterion, Scoring, sum_units

if TYPE_CHECKING:
    from torch import Tensor

    from prune.pruning.ranking import Scores


class Taylor(Criterion):
    """Mean over calibration batches of (Σ w·∂L/∂w)² over the unit, L the cross-entropy.

    Molchanov et al. 2019 (arXiv 1906.10771, eq. 8) for a group of weights; NViT (arXiv 2110.04869) uses it for ViTs.
    """

    def scores(self, scoring: Scoring) -> Scores:
        import torch
        from torch.nn import functional as F

        model = scoring.model
        names = list(dict.fromkeys(member.tensor for group in scoring.structure.groups for member in group.members))
        weights = [model.get_parameter(name) for name in names]
        training = model.training
        model.eval()
        total: Scores = {}
        count = 0
        for images, labels in scoring.batches():
            loss = F.cross_entropy(scoring.logits(images), labels)
            found = torch.autograd.grad(loss, weights, allow_unused=True)
            # An empty branch's weights take no part in the loss.
            gradients = {
                name: torch.zeros_like(weight) if gradient is None else gradient
                for name, weight, gradient in zip(names, weights, found, strict=True)
            }
            batch = scoring.collect(lambda group, of=gradients: _squared(scoring, group, of))  # type: ignore[misc]
            total = {name: total[name] + score for name, score in batch.items()} if total else batch
            count += 1
        model.train(training)
        assert count, "calibration gave no batch"
        return {name: score / count for name, score in total.items()}

    def densities(self, scoring: Scoring) -> Scores:
        """Square root of the score, per parameter."""
        return scoring.per_cost({name: score.sqrt() for name, score in self.scores(scoring).items()})


def _squared(scoring: Scoring, group: Group, gradients: Mapping[str, Tensor]) -> Tensor:
    import torch

    pairs = zip(scoring.parts(group), scoring.parts(group, gradients), strict=True)
    return torch.stack([sum_units(weight.tensor * gradient.tensor) for weight, gradient in pairs]).sum(0).square()
