"""What the numbers support, in sentences, and no more than that."""

from __future__ import annotations

from prune.base.text import ranges
from prune.report import compare
from prune.report.anomalies import REMOVAL_POINTS
from prune.report.findings import Findings
from prune.report.statistics import Paired, summarise
from prune.report.study import Variant
from prune.report.tables.pruning import change
from prune.report.tables.size import TOTAL, parameters_by_part, parts_kept
from prune.report.tables.training import direction, end_of_state, last_epochs
from prune.report.text import count, mean_std, number, signed

GAP_POINTS = 20.0
"""A gap between train and validation accuracy (percentage points) worth a sentence."""


def conclude(findings: Findings, dataset: str) -> list[str]:
    """The conclusions for one dataset."""
    study = findings.study
    variants = [v for v in study.of(dataset) if study.finished(v)]
    if not variants:
        return ["No run has finished a state yet, so there is nothing to compare."]
    sentences = []
    for variant in variants:
        sentences += _against_baseline(findings, variant)
    for pair in findings.pairs(dataset):
        if findings.baseline_of(pair.first) is not pair.second and findings.baseline_of(pair.second) is not pair.first:
            sentences += _between_methods(findings, pair)
    sentences += [s for variant in variants for s in _soft_removal(findings, variant)]
    sentences += _convergence(findings, variants)
    sentences += [s for variant in variants for s in _overfitting(findings, variant)]
    sentences += _limits(findings, dataset, variants)
    return sentences


def _against_baseline(findings: Findings, variant: Variant) -> list[str]:
    other = findings.baseline_of(variant)
    if other is None or not variant.prunes:
        return []
    pair = compare.Pair(variant, other)
    state = compare.decisive_state(findings.study, pair)
    # State 0 is the same for all methods: nothing to compare yet.
    return [] if not state else [_comparison(findings, pair, state, _size(variant, state))]


def _between_methods(findings: Findings, pair: compare.Pair) -> list[str]:
    state = compare.decisive_state(findings.study, pair)
    if state is None or (state == 0 and pair.first.method != pair.second.method):
        return []
    return [_comparison(findings, pair, state, "")]


def _size(variant: Variant, state: int) -> str:
    """` (30.4 % of the parameters)`."""
    kept = [sizes[TOTAL] for sizes in parts_kept(variant, state, parameters_by_part)]
    if not kept or variant.structure is None:
        return ""
    return f" ({100 * sum(kept) / len(kept) / variant.structure.parameters():.1f} % of the parameters)"


def _comparison(findings: Findings, pair: compare.Pair, state: int, size: str) -> str:
    """One comparison in words: the state, then the mean over states, then what is doubtful about it."""
    found = compare.difference(findings.study, pair, state)
    assert found is not None
    text = f"{pair.first.label} in state {state}{size} against {pair.second.label} in the same state: {_finding(found)}."
    mean, states = compare.mean_difference(findings.study, pair)
    if mean is not None and len(states) > 1:
        text += f" Mean over states {ranges(states)}: {_finding(mean, warn=found.n > 1)}."
        if mean.beyond_noise and found.beyond_noise and mean.mean * found.mean < 0:
            text += " The two point in opposite directions: which one is ahead depends on the state."
    if any(findings.is_flagged(variant, [state]) for variant in (pair.first, pair.second)):
        text += f" An accuracy in state {state} is flagged as an anomaly"
        rest = findings.without_flagged(pair, state)
        text += "." if rest is None else f"; without it: {_finding(rest)}."
    return text


def _finding(found: Paired, warn: bool = True) -> str:
    """What a paired difference shows. Only an interval that excludes zero is called a difference.

    Args:
        warn: say that one seed supports no conclusion (false where the sentence has said so already).
    """
    if not any(found.differences.values()):
        return f"identical in {count(found.n, 'seed')}"
    if found.n == 1:
        return f"{signed(found.mean)} points" + (", one seed: no spread known, so no conclusion" if warn else "")
    if found.interval is None:
        each = " and ".join(signed(value) for value in found.differences.values())
        return f"{each} points, {found.n} seeds: too few for an interval, so no conclusion"
    low, high = found.interval
    evidence = f"95 % interval [{signed(low)}, {signed(high)}], {found.n} paired seeds"
    if not found.beyond_noise:
        return f"no difference beyond seed noise ({signed(found.mean)} points, {evidence})"
    return f"{number(abs(found.mean))} points {'higher' if found.mean > 0 else 'lower'} ({evidence})"


def _soft_removal(findings: Findings, variant: Variant) -> list[str]:
    study = findings.study
    states = study.finished(variant, "val_accuracy_after_removal")
    if not states:
        return []
    changes, saved = [], []
    for state in states:
        before = study.by_seed(variant, "val_accuracy_before_removal", state)
        after = study.by_seed(variant, "val_accuracy_after_removal", state)
        at_once = study.by_seed(variant, "val_accuracy_pruned", state)
        changes.append(change(before, after))
        saved.append(change(at_once, after))
    worst = min(((c.mean, s) for c, s in zip(changes, states, strict=True) if c is not None), default=None)
    gain = summarise(s.mean for s in saved if s is not None)
    if worst is None:
        return []
    most, where = max(0.0, -worst[0]), f" (state {worst[1]})" if -worst[0] > REMOVAL_POINTS else ""
    text = f"{variant.label}: removal cost at most {number(most)} points on validation in any state{where}, mean over seeds."
    if gain is not None:
        text += f" Just after it, validation is {number(abs(gain.mean))} points {'above' if gain.mean > 0 else 'below'} "
        text += "where removing the same units at once had left it."
    return [text]


def _convergence(findings: Findings, variants: list[Variant]) -> list[str]:
    """State 0 in one sentence, for it is the same for all methods; later states in another."""
    rising = {variant.label: _rising(findings, variant) for variant in variants}
    sentences = []
    start = [gains[0] for gains in rising.values() if 0 in gains]
    if start:
        sentences.append(
            f"State 0 had not converged (still rising by {number(max(start))} points from its last but one window of epochs to "
            "its last): what follows starts from an undertrained model."
        )
    later = {label: sorted(gains.keys() - {0}) for label, gains in rising.items() if gains.keys() - {0}}
    if later:
        listed = "; ".join(f"{label} in state {ranges(states)}" for label, states in later.items())
        sentences.append(
            f"Still rising when the state ended: {listed}. More epochs per state may change what is compared here."
        )
    return sentences


def _rising(findings: Findings, variant: Variant) -> dict[int, float]:
    """State → points gained between its last two windows, for the states that had not converged."""
    found = {}
    for state in findings.study.finished(variant):
        endings = [e for run in variant.runs if (e := end_of_state(findings, run, variant, state)) is not None]
        trend, fluctuation = summarise(e.trend for e in endings), summarise(e.fluctuation for e in endings)
        if trend is not None and direction(trend, fluctuation) == "still rising":
            found[state] = trend.mean
    return found


def _overfitting(findings: Findings, variant: Variant) -> list[str]:
    last = findings.last_state(variant)
    if last is None:
        return []
    found = last_epochs(findings, variant, last)
    gap = summarise(found["train_accuracy"] - found["val_accuracy"]) if len(found) else None
    if gap is None or gap.mean <= GAP_POINTS:
        return []
    return [f"{variant.label} overfits in state {last}: train accuracy is {mean_std(gap)} points above validation."]


def _limits(findings: Findings, dataset: str, variants: list[Variant]) -> list[str]:
    """What the runs cannot answer."""
    sentences = []
    if not any(findings.baseline in (v.method, v.label) for v in variants):
        sentences.append(
            f"There is no {findings.baseline} run on {dataset}: whether pruning costs or gains accuracy is not known, since "
            "state 0 has had fewer epochs than any later state."
        )
    single = [v.label for v in variants if len(v.runs) == 1]
    if single:
        sentences.append(f"One seed: no spread known for {', '.join(single)}.")
    unfinished = [f"{v.label} ({sum(run.complete for run in v.runs)} of {len(v.runs)} complete)" for v in variants
                  if not all(run.complete for run in v.runs)]  # fmt: skip
    if unfinished:
        sentences.append(f"Not all runs are complete, so these statements may change: {', '.join(unfinished)}.")
    return sentences
