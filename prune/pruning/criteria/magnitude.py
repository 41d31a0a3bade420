"""Criteria of weights alone: how large a unit's own weights are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prune.pruning.criteria.base import Criterion, Scoring, sum_parts

if TYPE_CHECKING:
    from prune.pruning.ranking import Scores


class Magnitude(Criterion):
    """Σ|w| over the weight matrices that make the unit: a head's rows of qkv, a neuron's row of fc1."""

    def scores(self, scoring: Scoring) -> Scores:
        return scoring.collect(
            lambda group: sum_parts(
                (part for part in scoring.parts(group) if part.member.role == "makes" and part.member.matrix), lambda w: w.abs()
            )
        )

    def densities(self, scoring: Scoring) -> Scores:
        """Σ|w| over all the unit's tensors, biases included, per parameter."""
        return scoring.per_cost(scoring.collect(lambda group: sum_parts(scoring.parts(group), lambda w: w.abs())))


class GroupMagnitude(Criterion):
    """L2 norm over all the unit's tensors, what makes it and what reads it, biases included."""

    def scores(self, scoring: Scoring) -> Scores:
        return scoring.collect(lambda group: sum_parts(scoring.parts(group), lambda w: w.square()).sqrt())

    def densities(self, scoring: Scoring) -> Scores:
        """Squared norm per parameter."""
        return scoring.per_cost(scoring.collect(lambda group: sum_parts(scoring.parts(group), lambda w: w.square())))
