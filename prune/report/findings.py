"""What tables, figures and conclusions are made from: the study, what is wrong with it, and who is compared with whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from prune.report import compare
from prune.report.anomalies import Anomaly, find, flagged
from prune.report.statistics import Paired, Summary, paired, summarise
from prune.report.study import ACCURACY, Run, Study, Variant


@dataclass(frozen=True)
class Findings:
    """A study and the choice of what its methods are measured against (`baseline`: a method or a variant's label)."""

    study: Study
    baseline: str

    @cached_property
    def anomalies(self) -> list[Anomaly]:
        return find(self.study)

    @cached_property
    def flagged(self) -> set[tuple[str, int]]:
        return flagged(self.anomalies)

    def pairs(self, dataset: str) -> list[compare.Pair]:
        """The pairs to show for a dataset."""
        return compare.pairs(self.study, dataset, self.baseline)[0]

    def baseline_of(self, variant: Variant) -> Variant | None:
        return compare.baseline_of(self.study, variant, self.baseline)

    def summary(self, variant: Variant, state: int | None, column: str = ACCURACY) -> Summary | None:
        """Mean and spread over seeds of a column of `states` in one state."""
        return None if state is None else summarise(self.study.by_seed(variant, column, state).values())

    def without_flagged(self, pair: compare.Pair, state: int) -> Paired | None:
        """The paired difference of the seeds whose accuracy is not anomalous on either side."""
        values = []
        for variant in (pair.first, pair.second):
            flagged = {run.seed for run in variant.runs if (run.key, state) in self.flagged}
            every = self.study.by_seed(variant, ACCURACY, state)
            values.append({seed: value for seed, value in every.items() if seed not in flagged})
        return paired(values[0], values[1])

    def is_flagged(self, variant: Variant, states: list[int]) -> bool:
        """Whether any of a variant's runs has an anomalous accuracy in one of the states."""
        return any((run.key, state) in self.flagged for run in variant.runs for state in states)

    def last_state(self, variant: Variant) -> int | None:
        """The last state that any run of a variant finished."""
        return max(self.study.finished(variant), default=None)


def run_keys(runs: tuple[Run, ...] | list[Run]) -> str:
    """`R1 R2 R3`."""
    return " ".join(run.key for run in runs)


def directories(runs: tuple[Run, ...] | list[Run]) -> str:
    """The run directories, for a CSV cell."""
    return " ".join(str(run.path) for run in runs)
