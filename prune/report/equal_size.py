"""What configurations reach at equal size: values between a run's states, and the sizes at which several models have one.

A run has a model of each state's size and of no other. Between two neighbouring states a value is read off the straight line
through both, over the counted size; outside of a run's largest and smallest state nothing is read off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from prune.architectures.group import MEASURED, Measure
from prune.base.text import rounded
from prune.report.findings import Findings
from prune.report.run import Run, Variant
from prune.report.variants import model_names

MEASURES: tuple[Measure, ...] = ("parameters", "macs")
"""Columns of `Study.states`, called in a table as in a sentence (`MEASURED`)."""

ROUND = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
"""The first two digits of the sizes at which models are compared."""

MOST_SIZES = 4
"""Of each measure."""

Span = tuple[float, float]
"""The smallest and the largest size of a run's states."""


@dataclass(frozen=True)
class Place:
    """Where a size lies among a run's states.

    Attributes:
        states: the neighbouring states, the larger model first; one state twice where it has that very size.
        share: how far from the first to the second, in [0, 1).
    """

    states: tuple[int, int]
    share: float

    def read(self, values: Mapping[int, float]) -> float | None:
        """The value on the straight line between the two states; None where one of them has none."""
        first, second = (values.get(state) for state in self.states)
        return None if first is None or second is None else first + self.share * (second - first)


def place(sizes: Mapping[int, float], size: float) -> Place | None:
    """Where `size` lies between two neighbouring states, or at one (of several: the last); None where no state reaches it.

    Args:
        sizes: state → the size of its model.
    """
    same = [state for state in sorted(sizes) if sizes[state] == size]
    if same:
        return Place((same[-1], same[-1]), 0.0)
    for first, second in pairwise(sorted(sizes)):
        if sizes[first] > size > sizes[second]:
            return Place((first, second), (sizes[first] - size) / (sizes[first] - sizes[second]))
    return None


def places(findings: Findings, variant: Variant, measure: str, size: float) -> list[tuple[Run, Place]]:
    """The runs of a variant that reach a size, and where."""
    found = [(run, place(sizes_of(findings, run, variant, measure), size)) for run in variant.runs]
    return [(run, where) for run, where in found if where is not None]


def sizes_of(findings: Findings, run: Run, variant: Variant, measure: str) -> dict[int, float]:
    """State → counted size of a run's model, of the states that have an accuracy."""
    study = findings.study
    by_state = {state: study.by_seed(variant, measure, state).get(run.seed) for state in study.finished(variant)}
    return {state: size for state, size in by_state.items() if size is not None}


def compared_sizes(findings: Findings, dataset: str, measure: str) -> list[float]:
    """The sizes at which the models of a dataset are compared, ascending; of one model its configurations.

    Empty where there is nothing to compare: all configurations have the same size in the same state.
    """
    variants = findings.study.of(dataset)
    models = by_model(variants)
    if len(models) == 1:
        if _alike(findings, variants, measure):
            return []
        models = {variant.label: [variant] for variant in variants}
    return common_sizes([_spans(findings, members, measure) for members in models.values()])


def by_model(variants: Sequence[Variant]) -> dict[str, list[Variant]]:
    """What the report calls a model → the variants that prune it, in order."""
    found: dict[str, list[Variant]] = {}
    for name, variant in zip(model_names([variant.settings for variant in variants]), variants, strict=True):
        found.setdefault(name, []).append(variant)
    return dict(sorted(found.items()))


def _alike(findings: Findings, variants: Sequence[Variant], measure: str) -> bool:
    """Whether all that prune have the same size in the same state, so that a state compares them at equal size."""
    sizes: dict[int, set[float]] = {}
    for variant in variants:
        for state in findings.study.finished(variant) if variant.prunes else ():
            sizes.setdefault(state, set()).update(findings.study.by_seed(variant, measure, state).values())
    return all(len(found) <= 1 for found in sizes.values())


def _spans(findings: Findings, variants: Sequence[Variant], measure: str) -> list[Span]:
    runs = ((run, variant) for variant in variants for run in variant.runs)
    sizes = (sizes_of(findings, run, variant, measure).values() for run, variant in runs)
    return [(min(found), max(found)) for found in sizes if found]


def common_sizes(models: Sequence[Sequence[Span]]) -> list[float]:
    """At most `MOST_SIZES` round sizes that at least two models reach, evenly spread; one that most of them reach is there.

    Where no round size lies in what two models share, the geometric middle of what most share.

    Args:
        models: for each model its runs' spans.
    """
    ends = sorted({end for spans in models for span in spans for end in span})
    if not ends:
        return []
    reach = {size: _reached(models, size) for size in _round_sizes(ends[0], ends[-1])}
    shared = [size for size, count in reach.items() if count > 1]
    if not shared:
        middles = [*(math.sqrt(low * high) for low, high in pairwise(ends)), *ends]
        most = max(middles, key=lambda size: _reached(models, size))
        return [most] if _reached(models, most) > 1 else []
    if len(shared) <= MOST_SIZES:
        return shared
    chosen = [shared[round(i * (len(shared) - 1) / (MOST_SIZES - 1))] for i in range(MOST_SIZES)]
    best = max(reach.values())
    if all(reach[size] < best for size in chosen):
        central = [size for size in shared if reach[size] == best]
        wanted = central[len(central) // 2]
        nearest = min(chosen, key=lambda size: abs(math.log(size / wanted)))
        chosen[chosen.index(nearest)] = wanted
    return chosen


def _reached(models: Sequence[Sequence[Span]], size: float) -> int:
    return sum(any(low <= size <= high for low, high in spans) for spans in models)


def _round_sizes(low: float, high: float) -> list[float]:
    tens = range(math.floor(math.log10(low)) - 1, math.floor(math.log10(high)))
    every = (float(digits * 10**ten) for ten in tens for digits in ROUND)
    return [size for size in every if low <= size <= high]


def heading(size: float, measure: str) -> str:
    """`60 k parameters`."""
    return f"{rounded(size)} {MEASURED[measure]}"
