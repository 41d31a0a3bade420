"""What tables, figures and conclusions are made from: the study, what is wrong with it, and who is compared with whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from prune.report import compare
from prune.report.anomalies import Anomaly, find, flagged
from prune.report.columns import ACCURACY
from prune.report.paired import Paired, holm
from prune.report.run import Run, Variant
from prune.report.statistics import CONFIDENCE, Summary, summarise
from prune.report.study import Study

MOST_PAIRS = 10
"""With more pairs than this on a dataset, those without the baseline are in a table of their own."""


@dataclass(frozen=True)
class Verdict:
    """A difference that the page judges.

    Attributes:
        found: the paired difference.
        adjusted: its p-value by Holm's procedure over all that the page judges; None where it cannot be judged.
    """

    found: Paired
    adjusted: float | None = None

    @property
    def beyond_noise(self) -> bool | None:
        """Whether it is called a difference; None where nothing can be said."""
        return None if self.adjusted is None else self.adjusted <= 1 - CONFIDENCE


@dataclass(frozen=True)
class Result:
    """What is compared of a pair.

    Attributes:
        state: of the first variant: the latest in which most seeds are paired.
        against: the state of the second: the same, or state 0 of the same runs.
        at_state: the difference there.
        states, mean: the pruned states up to that one, and the difference of the means over them; None where they are no more
            than that state.
    """

    pair: compare.Pair
    state: int
    against: int
    at_state: Verdict
    states: tuple[int, ...] = ()
    mean: Verdict | None = None

    @property
    def label(self) -> str:
        first = self.pair.first
        return self.pair.label if self.of_one_state else f"{first.label}, state {self.state} − state {self.against}"

    @property
    def of_one_state(self) -> bool:
        return self.state == self.against

    @property
    def verdicts(self) -> list[Verdict]:
        return [self.at_state] if self.mean is None else [self.at_state, self.mean]


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
        """All pairs that are compared on a dataset."""
        return self._pairs[dataset]

    @cached_property
    def _pairs(self) -> dict[str, list[compare.Pair]]:
        return {dataset: compare.pairs(self.study, dataset, self.baseline) for dataset in self.study.datasets}

    def leading_pairs(self, dataset: str) -> list[compare.Pair]:
        """All of them, or, where they are too many for one table, those with a baseline (else with the first variant)."""
        pairs = self.pairs(dataset)
        if len(pairs) <= MOST_PAIRS:
            return pairs
        with_baseline = [p for p in pairs if self.baseline_of(p.first) is p.second or p.second.control_of == p.first.label]
        return with_baseline or [p for p in pairs if self.study.of(dataset)[0] in (p.first, p.second)]

    def results(self, dataset: str) -> list[Result]:
        """Everything that the page judges on a dataset: its pairs, then what rewinds against its own state 0."""
        return self._results[dataset]

    @property
    def judged(self) -> int:
        """How many differences the page judges: those that share Holm's correction."""
        every = [verdict for results in self._results.values() for result in results for verdict in result.verdicts]
        return sum(verdict.adjusted is not None for verdict in every)

    @cached_property
    def _results(self) -> dict[str, list[Result]]:
        found = {dataset: self._unadjusted(dataset) for dataset in self.study.datasets}
        every = [verdict for results in found.values() for result in results for verdict in result.verdicts]
        judged = [verdict for verdict in every if verdict.found.p is not None]
        corrected = dict(zip(map(id, judged), holm([v.found.p or 0.0 for v in judged]) if judged else (), strict=True))

        def adjusted(verdict: Verdict) -> Verdict:
            p = corrected.get(id(verdict))
            return verdict if p is None else replace(verdict, adjusted=float(p))

        return {
            dataset: [replace(r, at_state=adjusted(r.at_state), mean=r.mean and adjusted(r.mean)) for r in results]
            for dataset, results in found.items()
        }

    def _unadjusted(self, dataset: str) -> list[Result]:
        found = []
        for pair in self.pairs(dataset):
            state = compare.decisive_state(self.study, pair)
            # State 0 is the same for all methods, and for what is a control of the other: nothing to compare yet.
            alike = pair.first.method != pair.second.method or pair.second.control_of is not None
            if state is None or (state == 0 and alike):
                continue
            at_state, states = compare.difference(self.study, pair, state), compare.pruned_states(self.study, pair)
            mean = compare.difference(self.study, pair, states) if len(states) > 1 else None
            assert at_state is not None
            found.append(Result(pair, state, state, Verdict(at_state), tuple(states), Verdict(mean) if mean else None))
        for variant in self.study.of(dataset):
            itself = compare.Pair(variant, variant)
            state = compare.decisive_state(self.study, itself)
            if variant.prunes and variant.rewinds and state and variant.control_of is None:
                change = compare.difference(self.study, itself, state, 0)
                found += [Result(itself, state, 0, Verdict(change))] if change is not None else []
        return found

    def baseline_of(self, variant: Variant) -> Variant | None:
        return compare.baseline_of(self.study, variant, self.baseline)

    def summary(self, variant: Variant, state: int | None, column: str = ACCURACY) -> Summary | None:
        """Mean and spread over seeds of a column of `states` in one state."""
        return None if state is None else summarise(self.study.by_seed(variant, column, state).values())

    def without_flagged(self, pair: compare.Pair, state: int, against: int | None = None) -> Paired | None:
        """The paired difference of the seeds whose accuracy is not anomalous on either side."""
        return compare.difference(self.study, pair, state, against, self.flagged)

    def is_flagged(self, variant: Variant, states: list[int]) -> bool:
        """Whether any of a variant's runs has an anomalous accuracy in one of the states."""
        return any((run.key, state) in self.flagged for run in variant.runs for state in states)

    def last_state(self, variant: Variant) -> int | None:
        """The last state that any run of a variant finished."""
        return max(self.study.finished(variant), default=None)


def run_keys(runs: tuple[Run, ...] | list[Run]) -> str:
    """`R1 R2 R3`."""
    return " ".join(dict.fromkeys(run.key for run in runs))


def directories(runs: tuple[Run, ...] | list[Run]) -> str:
    """The run directories, for a CSV cell."""
    return " ".join(dict.fromkeys(str(run.path) for run in runs))
