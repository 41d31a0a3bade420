"""How much a state's weights were trained: epochs since they were last rewound, and the run's training FLOPs, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prune.report.findings import Findings, Result
from prune.report.run import Variant
from prune.report.text import NOTHING, large

EPOCHS, FLOPS = "epochs_since_rewind", "training_flops"
"""The columns of `Study.states`."""

MOST_LISTED = 3
"""More different values than this are given as a range."""


def epochs(findings: Findings, variant: Variant, state: int) -> str:
    """`60`; `58–60` where seeds differ; a dash where the runs do not tell."""
    return span([float(v) for v in findings.study.by_seed(variant, EPOCHS, state).values()], whole)


def flops(findings: Findings, variant: Variant, state: int) -> str:
    """`17.24 G`: of the run so far, mean over seeds."""
    found = findings.summary(variant, state, FLOPS)
    return NOTHING if found is None else large(found.mean)


def both(findings: Findings, result: Result, part: Callable[[Findings, Variant, int], str]) -> str:
    """`60 / 960`: of the two sides of a comparison."""
    first, second = result.pair.first, result.pair.second
    return f"{part(findings, first, result.state)} / {part(findings, second, result.against)}"


def unequal(findings: Findings, result: Result) -> bool:
    """Whether the two sides are known to have had different numbers of epochs since they were last rewound."""
    found = [epochs(findings, v, s) for v, s in ((result.pair.first, result.state), (result.pair.second, result.against))]
    return NOTHING not in found and found[0] != found[1]


def sentence(findings: Findings, result: Result) -> str:
    """What the two sides of a comparison were trained for, with a leading space; empty where the runs do not tell."""
    if NOTHING in (epochs(findings, result.pair.first, result.state), epochs(findings, result.pair.second, result.against)):
        return ""
    counts, costs = (both(findings, result, part).replace(" / ", " against ") for part in (epochs, flops))
    text = f" Epochs since the last rewind: {counts}; training FLOPs of the run by then: {costs}."
    if unequal(findings, result):
        text += " The epochs differ, so this is a difference of method and training together."
    return text


def in_one_state(
    findings: Findings, variants: Sequence[Variant], state: int, part: Callable[[Findings, Variant, int], str]
) -> str:
    """`60`, or `60 (refill); 960 (dense, rsst)`, or, with many different values, how many there are."""
    found = {v.label: part(findings, v, state) for v in variants if findings.study.by_seed(v, EPOCHS, state)}
    return by_value(found)


def by_value(found: Mapping[str, str]) -> str:
    """Label → text, in one cell: the labels that share a text together."""
    labels: dict[str, list[str]] = {}
    for label, text in found.items():
        labels.setdefault(text, []).append(label)
    if len(labels) <= 1:
        return next(iter(labels), NOTHING)
    if len(labels) > MOST_LISTED:
        return f"{len(labels)} different, see “Every state”"
    return "; ".join(f"{text} ({', '.join(having)})" for text, having in labels.items())


def whole(value: float) -> str:
    """To the nearest whole number."""
    return f"{value:.0f}"


def span(values: Sequence[float], shown: Callable[[float], str]) -> str:
    """From the least to the most, as shown: `6–36`; one where they read alike."""
    if not values:
        return NOTHING
    low, high = shown(min(values)), shown(max(values))
    return low if low == high else f"{low}–{high}"
