"""The criterion that knows nothing."""

from __future__ import annotations

import torch

from prune.pruning.criteria.base import Criterion, Scoring
from prune.pruning.ranking import Scores


class Random(Criterion):
    """Uniform in [0, 1), seeded by the run's seed and the state: the control."""

    def scores(self, scoring: Scoring) -> Scores:
        return scoring.collect(lambda group: torch.rand(len(scoring.parts(group)[0].tensor), generator=scoring.generator))

    def densities(self, scoring: Scoring) -> Scores:
        """As drawn."""
        return self.scores(scoring)
