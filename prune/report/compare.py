"""Which variants are compared with which, and how they differ seed by seed and image by image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from prune.base.errors import UserError
from prune.report.columns import ACCURACY, CHOOSING
from prune.report.paired import Paired, Sampling, paired, sampling_by_accuracies, sampling_by_image
from prune.report.run import Run, Variant
from prune.report.study import Study
from prune.report.variants import NO_MATTER_TO_DENSE, distance, same_setting

DENSE = "dense"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two variants of a dataset; differences are `first` minus `second`."""

    first: Variant
    second: Variant

    @property
    def label(self) -> str:
        return f"{self.first.label} − {self.second.label}"


def named(variant: Variant, baseline: str) -> bool:
    """Whether `baseline` is a variant's method or its label."""
    return baseline in (variant.method, variant.label)


def check_baseline(study: Study, baseline: str) -> None:
    """Raise `UserError` where `baseline` leaves open what is compared with what.

    That is so if it names a method of which a dataset has configurations that differ in keys of the method's own; of dense runs
    the one that rewinds alike is taken.
    """
    if baseline == DENSE:
        return
    for dataset in study.datasets:
        chosen = [v for v in study.of(dataset) if named(v, baseline)]
        if any(same_setting(a.settings, b.settings) for a, b in combinations(chosen, 2)):
            labels = "; ".join(dict.fromkeys(v.label for v in chosen))
            raise UserError(f"--baseline={baseline} is more than one configuration on {dataset}; choose one of: {labels}.")


def baseline_of(study: Study, variant: Variant, baseline: str) -> Variant | None:
    """The variant that `variant` is measured against: the baseline's method (or label) under otherwise equal settings.

    Where the baseline is `dense`, the keys of the pruning schedule may differ too, for they change nothing in it. A run that
    rewinds to the same point is preferred to one that does not rewind, and that to one that rewinds elsewhere.
    """
    if named(variant, baseline) or variant.control_of is not None:
        return None
    others = [v for v in study.of(variant.dataset) if named(v, baseline)]
    ignored = NO_MATTER_TO_DENSE if baseline == DENSE else ()
    for ignore in ((), ignored):
        fitting = [other for other in others if same_setting(variant.settings, other.settings, ignore)]
        if fitting:
            return min(fitting, key=lambda other: _unlike(variant, other))
    return None


def _unlike(variant: Variant, other: Variant) -> int:
    """0 if they rewind alike, 1 if `other` does not rewind, 2 if it rewinds to another point."""
    if rewind_of(variant) == rewind_of(other):
        return 0
    return 1 if rewind_of(other) == "none" else 2


def rewind_of(variant: Variant) -> str:
    """The point to which a variant's configuration rewinds."""
    return str(variant.settings.get("method.rewind") or "none")


def pairs(study: Study, dataset: str, baseline: str) -> list[Pair]:
    """The pairs of a dataset's variants that are compared.

    A pair differs in one respect only: the method (all its keys), or one other key; or it is a variant and its baseline. Of
    controls each is compared with what it is a control of, and with nothing else.
    """
    found = []
    for first, second in combinations(study.of(dataset), 2):
        if first.control_of is not None or second.control_of is not None:
            if is_control(second, first) or is_control(first, second):
                found.append(Pair(second, first) if is_control(first, second) else Pair(first, second))
            continue
        if named(first, baseline) and not named(second, baseline):
            first, second = second, first  # differences are what the others gain on the baseline
        if baseline_of(study, first, baseline) is second or distance(first.settings, second.settings) == 1:
            found.append(Pair(first, second))
    return found


def is_control(variant: Variant, of: Variant) -> bool:
    """Whether a variant is a control of another that has the same states."""
    return variant.control_of == of.label and distance(variant.settings, of.settings) == 1


def difference(
    study: Study, pair: Pair, states: int | Sequence[int], against: int | Sequence[int] | None = None,
    without: Collection[tuple[str, int]] = (),
) -> Paired | None:  # fmt: skip
    """The paired difference of test accuracies, each averaged over some states; None if no seed has them all on both sides.

    Args:
        states: of the first variant (and of the second).
        against: of the second, where they are others.
        without: (run key, state) that do not count.
    """
    own, other = _states(states), _states(states if against is None else against)
    first, second = _complete(study, pair.first, own, without), _complete(study, pair.second, other, without)
    seeds = sorted(set(first) & set(second))
    if not seeds:
        return None
    values = [{seed: _mean(study, v, seed, s) for seed in seeds} for v, s in ((pair.first, own), (pair.second, other))]
    sides = [[(runs[seed], s) for seed in seeds] for runs, s in ((first, own), (second, other))]
    return paired(values[0], values[1], _sampling(study, pair, sides, values))


def _states(states: int | Sequence[int]) -> list[int]:
    return [states] if isinstance(states, int) else list(states)


def _complete(
    study: Study, variant: Variant, states: Sequence[int], without: Collection[tuple[str, int]] = ()
) -> dict[int, Run]:
    """Seed → run, of the runs that have an accuracy in each of the states."""
    return {
        run.seed: run
        for run in variant.runs
        if all(run.seed in study.by_seed(variant, ACCURACY, state) and (run.key, state) not in without for state in states)
    }


def _mean(study: Study, variant: Variant, seed: int, states: Sequence[int]) -> float:
    return sum(study.by_seed(variant, ACCURACY, state)[seed] for state in states) / len(states)


def _sampling(
    study: Study, pair: Pair, sides: list[list[tuple[Run, list[int]]]], values: Sequence[Mapping[int, float]]
) -> Sampling | None:
    """The test images' part in the error: from the predictions, else from the accuracies, else unknown."""
    right = [[_right(study, run, states) for run, states in side] for side in sides]
    known = [array for side in right for array in side if array is not None]
    if len(known) == 2 * len(right[0]) and len({len(array) for array in known}) == 1:
        half = len(known) // 2
        return sampling_by_image(known[:half], known[half:])
    images = study.test_images.get(pair.first.dataset)
    if images is None:
        return None
    first, second = (sum(side.values()) / len(side) for side in values)
    return sampling_by_accuracies(first, second, images)


def _right(study: Study, run: Run, states: Sequence[int]) -> np.ndarray | None:
    """For each test image the fraction of the states whose model was right."""
    found = [right for state in states if (right := study.correct(run, state)) is not None]
    return np.mean(found, axis=0) if len(found) == len(states) and len({len(right) for right in found}) == 1 else None


def common_states(study: Study, pair: Pair) -> list[int]:
    """The states in which the pair shares at least one seed, ascending."""
    return [state for state in study.finished(pair.first) if _paired_seeds(study, pair, state)]


def decisive_state(study: Study, pair: Pair) -> int | None:
    """The latest of the states in which most seeds are paired: what conclusions are drawn from."""
    counts = {state: _paired_seeds(study, pair, state) for state in common_states(study, pair)}
    return max(counts, key=lambda state: (counts[state], state), default=None)


def _paired_seeds(study: Study, pair: Pair, state: int) -> int:
    return len(set(study.by_seed(pair.first, ACCURACY, state)) & set(study.by_seed(pair.second, ACCURACY, state)))


def pruned_states(study: Study, pair: Pair) -> list[int]:
    """The pruned states (s ≥ 1) up to the decisive one, over which a pair's difference is averaged."""
    last = decisive_state(study, pair)
    return [s for s in common_states(study, pair) if last is not None and 1 <= s <= last]


def mean_over_states(study: Study, variant: Variant) -> tuple[dict[int, float], list[int]]:
    """Seed → mean over states 2 to the last that any run finished, for the runs that have them all; and those states."""
    states = [state for state in study.finished(variant) if state >= 2]
    if not states:
        return {}, []
    return {seed: _mean(study, variant, seed, states) for seed in _complete(study, variant, states)}, states


def best_state(study: Study, variant: Variant) -> int | None:
    """The state with the highest mean *validation* accuracy, among those that most runs finished; ties to the first.

    Chosen on validation so that its test accuracy is not the maximum of many test accuracies.
    """
    values = {state: study.by_seed(variant, CHOOSING, state) for state in study.finished(variant, CHOOSING)}
    if not values:
        return None
    most = max(len(value) for value in values.values())
    means = {state: sum(v.values()) / len(v) for state, v in values.items() if len(v) == most}
    return max(means, key=lambda state: (means[state], -state))
