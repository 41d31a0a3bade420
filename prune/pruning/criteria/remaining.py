"""Criteria of what unstructured pruning would leave of a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prune.pruning.criteria.base import Criterion, Scoring, sum_parts
from prune.pruning.schedule import number_kept

if TYPE_CHECKING:
    from torch import Tensor

    from prune.pruning.ranking import Scores


class Remaining(Criterion):
    """Σ|w| over those weights of the unit that survive unstructured pruning (Refill, arXiv 2202.04736, App. A2).

    Over the weight matrices (no biases) of alive units of the pruned kinds, one global |w| threshold keeps
    round((1 - p_s)·M), M = the number of such weights in the dense model.
    """

    def scores(self, scoring: Scoring) -> Scores:
        threshold = self._threshold(scoring)
        return scoring.collect(
            lambda group: sum_parts(
                (part for part in scoring.parts(group) if part.member.matrix), lambda w: self._value(w.abs(), threshold)
            )
        )

    def densities(self, scoring: Scoring) -> Scores:
        """The score per parameter."""
        return scoring.per_cost(self.scores(scoring))

    def _value(self, magnitude: Tensor, threshold: float) -> Tensor:
        return magnitude * (magnitude >= threshold)

    def _threshold(self, scoring: Scoring) -> float:
        """The smallest |w| that survives."""
        import torch

        weights = torch.cat(
            [
                part.tensor.abs().flatten()
                for kind in scoring.kinds
                for group in scoring.structure.of(kind)
                for part in scoring.parts(group)
                if part.member.matrix
            ]
        )
        survivors = min(self._survivors(scoring), len(weights))
        if survivors == 0:
            return float("inf")
        return weights.kthvalue(len(weights) - survivors + 1).values.item()

    def _survivors(self, scoring: Scoring) -> int:
        structure, rates = scoring.structure, scoring.rates
        weights = {kind: sum(group.count * group.weights for group in structure.of(kind)) for kind in scoring.kinds}
        if len({rates[kind] for kind in scoring.kinds}) == 1:
            return number_kept(rates[scoring.kinds[0]], sum(weights.values()))
        return sum(number_kept(rates[kind], weights[kind]) for kind in scoring.kinds)


class RemainingCount(Remaining):
    """How many weights of the unit survive (see `Remaining`)."""

    def _value(self, magnitude: Tensor, threshold: float) -> Tensor:
        return (magnitude >= threshold).to(magnitude.dtype)
