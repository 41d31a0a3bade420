"""What the numbers support, in sentences, and no more than that."""

from __future__ import annotations

from prune.base.text import count, ranges
from prune.report import budgets
from prune.report.anomalies import REMOVAL_POINTS
from prune.report.compare import DENSE, named, rewind_of
from prune.report.control_sentences import beside_controls, without_controls
from prune.report.findings import MOST_PAIRS, Findings, Result
from prune.report.run import Variant
from prune.report.statistics import summarise
from prune.report.tables.differences import corrected
from prune.report.tables.pruning import change
from prune.report.tables.size import TOTAL, parameters_by_part, parts_kept
from prune.report.tables.training import direction, end_of_state, last_epochs
from prune.report.text import NOTHING, mean_std, number
from prune.report.wording import amount, finding

GAP_POINTS = 20.0
"""A gap between train and validation accuracy (percentage points) worth a sentence."""


def conclude(findings: Findings, dataset: str) -> list[str]:
    """The conclusions for one dataset."""
    study = findings.study
    variants = [v for v in study.of(dataset) if study.finished(v)]
    if not variants:
        return ["No run has finished a state yet, so there is nothing to compare."]
    results = findings.results(dataset)
    against = [r for r in results if r.of_one_state and findings.baseline_of(r.pair.first) is r.pair.second]
    sentences = [_comparison(findings, result) for result in against if result.pair.first.prunes]
    sentences += [_comparison(findings, result) for result in results if not result.of_one_state]
    beside = [r for r in results if r.pair.second.control_of is not None]
    sentences += _others(findings, [r for r in results if r.of_one_state and r not in against and r not in beside])
    sentences += beside_controls(findings, beside)
    sentences += [corrected(findings)] if results else []
    own = [variant for variant in variants if variant.control_of is None]
    sentences += [s for variant in own for s in _soft_removal(findings, variant)]
    sentences += _convergence(findings, variants)
    sentences += [s for variant in own for s in _overfitting(findings, variant)]
    sentences += _limits(findings, dataset, variants)
    sentences += without_controls(findings, [v for v in own if v.prunes], beside)
    return sentences


def _others(findings: Findings, results: list[Result]) -> list[str]:
    """Comparisons that are not with a baseline: each of a few; of many those that the page calls a difference."""
    if len(results) <= MOST_PAIRS:
        return [_comparison(findings, result) for result in results]
    clear = [result for result in results if any(verdict.beyond_noise for verdict in result.verdicts)]
    rest = len(results) - len(clear)
    sentences = [_comparison(findings, result) for result in clear]
    if rest:
        sentences.append(
            f"Of {count(len(results), 'further pair')}, {rest} show no difference beyond noise; all are in the tables."
        )
    return sentences


def _size(variant: Variant, state: int) -> str:
    """` (30.4 % of the parameters)`; empty where nothing is gone."""
    kept = [sizes[TOTAL] for sizes in parts_kept(variant, state, parameters_by_part)]
    if not kept or variant.structure is None or not variant.prunes:
        return ""
    return f" ({100 * sum(kept) / len(kept) / variant.structure.parameters():.1f} % of the parameters)"


def _comparison(findings: Findings, result: Result) -> str:
    """One comparison in words: the state, the mean over states, how each side was trained, and what is doubtful about it."""
    first, second = result.pair.first, result.pair.second
    where = f"{second.label} in the same state" if result.of_one_state else f"state {result.against} of the same runs"
    text = f"{first.label} in state {result.state}{_size(first, result.state)} against {where}: {finding(result.at_state)}."
    if result.mean is not None:
        text += f" Mean over states {ranges(result.states)}: {finding(result.mean, warn=result.at_state.found.n > 1)}."
        if all(verdict.beyond_noise for verdict in result.verdicts) and result.mean.found.mean * result.at_state.found.mean < 0:
            text += " The two point in opposite directions: which one is ahead depends on the state."
    text += budgets.sentence(findings, result)
    sides = ((first, result.state), (second, result.against))
    marked = list(dict.fromkeys(state for variant, state in sides if findings.is_flagged(variant, [state])))
    if marked:
        text += f" An accuracy in state {ranges(marked)} is flagged as an anomaly"
        rest = findings.without_flagged(result.pair, result.state, result.against)
        text += "." if rest is None else f"; without it: {amount(rest)} (not judged)."
    return text


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
        text = (
            f"State 0 had not converged: still rising by {number(max(start))} points from its last but one window of epochs to "
        )
        text += "its last." + (" The first units were chosen on it." if any(v.prunes for v in variants) else "")
        sentences.append(text)
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
        endings = [e for run in variant.runs if (e := end_of_state(findings, run, state)) is not None]
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
    pruning = [v for v in variants if v.prunes and v.control_of is None]
    if pruning and not any(named(v, findings.baseline) for v in variants):
        sentences.append(_no_baseline(findings, dataset, pruning))
    sentences += [s for variant in pruning for s in _no_dense_alike(findings, variant)]
    single = [v.label for v in variants if len(v.runs) == 1]
    if single:
        sentences.append(f"One seed: no spread known for {', '.join(single)}.")
    unfinished = [f"{v.label} ({sum(run.complete for run in v.runs)} of {len(v.runs)} complete)" for v in variants
                  if not all(run.complete for run in v.runs)]  # fmt: skip
    if unfinished:
        sentences.append(f"Not all runs are complete, so these statements may change: {', '.join(unfinished)}.")
    return sentences


def _no_baseline(findings: Findings, dataset: str, pruning: list[Variant]) -> str:
    """What is not known for want of a baseline, by the epochs that state 0 and the last states have had."""
    text = f"There is no {findings.baseline} run on {dataset}"
    if findings.baseline != DENSE:
        return f"{text}."
    ends = [(variant, state) for variant in pruning if (state := findings.last_state(variant))]
    told = {
        f"{v.label} in state {state}": (budgets.epochs(findings, v, 0), budgets.epochs(findings, v, state)) for v, state in ends
    }
    other = {label: (zero, last) for label, (zero, last) in told.items() if zero != last or NOTHING in (zero, last)}
    if told and not other:
        return f"{text}; state 0 is dense and has had as many epochs as the last states since they were rewound."
    counts = "; ".join(
        f"{label}: {last}, state 0: {zero}" for label, (zero, last) in other.items() if NOTHING not in (zero, last)
    )
    text += ": whether pruning costs or gains accuracy at equal training is not known"
    return f"{text} (epochs since the last rewind: {counts})." if counts else f"{text}."


def _no_dense_alike(findings: Findings, variant: Variant) -> list[str]:
    """For a variant that rewinds and is compared with a dense run that does not."""
    other = findings.baseline_of(variant)
    if other is None or other.method != DENSE or not variant.rewinds or rewind_of(variant) == rewind_of(other):
        return []
    point = rewind_of(variant)
    return [
        f"{variant.label} rewinds to {point}; {other.label} does not. A dense run that is trained alike is `method=dense "
        f"method.rewind={point}`."
    ]
