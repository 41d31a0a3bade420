"""The criterion that knows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prune.pruning.criteria.base import Criterion, Scoring

if TYPE_CHECKING:
    from prune.pruning.ranking import Scores


class Random(Criterion):
    """Uniform in [0, 1), seeded by the run's seed and the state: the control."""

    def scores(self, scoring: Scoring) -> Scores:
        import torch

        return scoring.collect(lambda group: torch.rand(len(scoring.parts(group)[0].tensor), generator=scoring.generator))

    def densities(self, scoring: Scoring) -> Scores:
        """As drawn."""
        return self.scores(scoring)
