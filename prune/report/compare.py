"""Which variants are compared with which, and how they differ seed by seed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from prune.report.statistics import Paired, paired
from prune.report.study import ACCURACY, Study, Variant
from prune.report.variants import NO_MATTER_TO_DENSE, distance, same_setting

MOST_PAIRS = 10
"""With more pairs than this on a dataset, only those with the reference (the baseline, else the first variant) are shown."""


@dataclass(frozen=True)
class Pair:
    """Two variants of a dataset; differences are `first` minus `second`."""

    first: Variant
    second: Variant

    @property
    def label(self) -> str:
        return f"{self.first.label} − {self.second.label}"


def baseline_of(study: Study, variant: Variant, baseline: str) -> Variant | None:
    """The variant that `variant` is measured against: the baseline's method (or label) under otherwise equal settings.

    Where the baseline is `dense`, the keys of the pruning schedule may differ too: they change nothing in it.
    """
    others = [v for v in study.of(variant.dataset) if baseline in (v.method, v.label) and v.label != variant.label]
    ignored = NO_MATTER_TO_DENSE if baseline == "dense" else ()
    for ignore in ((), ignored):
        for other in others:
            if same_setting(variant.settings, other.settings, ignore):
                return other
    return None


def pairs(study: Study, dataset: str, baseline: str) -> tuple[list[Pair], int]:
    """The pairs to show for a dataset, and how many more there would be.

    A pair differs in one respect only: the method (all its keys), or one other key; or it is a variant and its baseline.
    """
    variants = study.of(dataset)
    found = []
    for first, second in combinations(variants, 2):
        with_baseline = baseline_of(study, second, baseline) is first
        if baseline_of(study, first, baseline) is second or with_baseline:
            found.append(Pair(second, first) if with_baseline else Pair(first, second))
        elif distance(first.settings, second.settings) == 1:
            found.append(Pair(first, second))
    if len(found) <= MOST_PAIRS:
        return found, 0
    reference = next((v for v in variants if baseline in (v.method, v.label)), variants[0])
    shown = [pair for pair in found if reference in (pair.first, pair.second)]
    return shown, len(found) - len(shown)


def difference(study: Study, pair: Pair, state: int, column: str = ACCURACY) -> Paired | None:
    """The paired difference of a column of `states` in one state."""
    return paired(study.by_seed(pair.first, column, state), study.by_seed(pair.second, column, state))


def common_states(study: Study, pair: Pair) -> list[int]:
    """The states in which the pair shares at least one seed, ascending."""
    return [s for s in study.finished(pair.first) if difference(study, pair, s) is not None]


def decisive_state(study: Study, pair: Pair) -> int | None:
    """The latest of the states in which most seeds are paired: what conclusions are drawn from."""
    states = common_states(study, pair)
    counts = {state: _paired_seeds(study, pair, state) for state in states}
    return max(states, key=lambda state: (counts[state], state), default=None)


def _paired_seeds(study: Study, pair: Pair, state: int) -> int:
    return len(set(study.by_seed(pair.first, ACCURACY, state)) & set(study.by_seed(pair.second, ACCURACY, state)))


def mean_difference(study: Study, pair: Pair) -> tuple[Paired | None, list[int]]:
    """The difference of each seed's mean over the pruned states (s ≥ 1) up to the decisive one, and those states.

    Only seeds that have all those states on both sides count, so that every mean covers the same states.
    """
    last = decisive_state(study, pair)
    states = [s for s in common_states(study, pair) if last is not None and 1 <= s <= last]
    if not states:
        return None, []
    means = [_means(study, variant, states) for variant in (pair.first, pair.second)]
    return paired(means[0], means[1]), states


def _means(study: Study, variant: Variant, states: list[int]) -> dict[int, float]:
    values = {state: study.by_seed(variant, ACCURACY, state) for state in states}
    seeds = set.intersection(*(set(value) for value in values.values()))
    return {seed: sum(values[state][seed] for state in states) / len(states) for seed in seeds}


def mean_over_states(study: Study, variant: Variant, column: str = ACCURACY) -> tuple[dict[int, float], list[int]]:
    """Seed → mean over states 2 to the last that any run finished, for the runs that have them all; and those states."""
    states = [state for state in study.finished(variant, column) if state >= 2]
    return (_means(study, variant, states), states) if states else ({}, [])


def best_state(study: Study, variant: Variant) -> int | None:
    """The state with the highest mean *validation* accuracy, among those that most runs finished; ties to the first.

    Chosen on validation so that its test accuracy is not the maximum of many test accuracies.
    """
    column = "val_accuracy_best"
    values = {state: study.by_seed(variant, column, state) for state in study.finished(variant, column)}
    if not values:
        return None
    most = max(len(value) for value in values.values())
    means = {state: sum(v.values()) / len(v) for state, v in values.items() if len(v) == most}
    return max(means, key=lambda state: (means[state], -state))
