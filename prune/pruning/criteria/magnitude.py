"""Criteria of weights alone: how large a unit's own weights are."""

from __future__ import annotations

import torch
from torch import Tensor

from prune.pruning.criteria.base import Criterion, Scoring, sum_parts
from prune.pruning.ranking import Scores


class Magnitude(Criterion):
    """Σ|w| over the weight matrices that make the unit: a head's rows of qkv, a neuron's row of fc1."""

    @torch.no_grad()
    def scores(self, scoring: Scoring) -> Scores:
        return scoring.collect(
            lambda group: sum_parts(
                (part for part in scoring.parts(group) if part.member.role == "makes" and part.member.matrix), Tensor.abs
            )
        )

    @torch.no_grad()
    def densities(self, scoring: Scoring) -> Scores:
        """Σ|w| over all the unit's tensors, biases included, per parameter."""
        return scoring.per_parameter(scoring.collect(lambda group: sum_parts(scoring.parts(group), Tensor.abs)))


class GroupMagnitude(Criterion):
    """L2 norm over all the unit's tensors, what makes it and what reads it, biases included."""

    @torch.no_grad()
    def scores(self, scoring: Scoring) -> Scores:
        return scoring.collect(lambda group: sum_parts(scoring.parts(group), Tensor.square).sqrt())

    @torch.no_grad()
    def densities(self, scoring: Scoring) -> Scores:
        """Squared norm per parameter."""
        return scoring.per_parameter(scoring.collect(lambda group: sum_parts(scoring.parts(group), Tensor.square)))
