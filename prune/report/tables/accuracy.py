"""Accuracy: the overall result, state by state, and the differences between variants."""

from __future__ import annotations

from typing import Any

import pandas as pd

from prune.base.text import ranges
from prune.report import compare
from prune.report.findings import Findings, directories, run_keys
from prune.report.statistics import Paired, Summary, summarise
from prune.report.study import ACCURACY, Variant
from prune.report.tables.table import FLAG, Table, about, mark, raw, raw_difference, raws
from prune.report.text import NOTHING, count, difference, mean_std, number, slug

MEASURE = (
    "Top-1 test accuracy in percent of each state's model that was best on validation; mean ± standard deviation over seeds."
)


def overall(findings: Findings, dataset: str) -> Table | None:
    """State 0, best, last, mean over states ≥ 2, and the last state against the baseline in that state."""
    rows, lines, notes = [], [], []
    for variant in findings.study.of(dataset):
        last, best = findings.last_state(variant), compare.best_state(findings.study, variant)
        if last is None:
            continue
        n = len(variant.runs)
        means, states = compare.mean_over_states(findings.study, variant)
        mean = summarise(means.values())
        zero, at_best, at_last = (findings.summary(variant, state) for state in (0, best, last))
        against, at = _against_baseline(findings, variant)
        if findings.is_flagged(variant, states):
            notes.append(_without_flagged(findings, variant, states))
        rows.append([
            variant.label,
            mean_std(zero, n),
            mark(mean_std(at_best, n), findings, variant, [] if best is None else [best]),
            NOTHING if best is None else str(best),
            mark(mean_std(at_last, n), findings, variant, [last]),
            str(last) if last == variant.planned_states - 1 else f"{last} of {variant.planned_states - 1}",
            mark(mean_std(mean, n), findings, variant, states) + (f", states {ranges(states)}" if states else ""),
            difference(against) + ("" if at in (None, last) else f" in state {at}"),
            run_keys(variant.runs),
        ])  # fmt: skip
        lines.append({
            **about(variant), **raw("state_0", zero), "best_state": best, **raw("best", at_best), "last_state": last,
            "planned_last_state": variant.planned_states - 1, **raw("last", at_last), "mean_states": ranges(states),
            **raw("mean", mean), "against_baseline_state": at, **raw_difference("against_baseline", against),
        })  # fmt: skip
    if not rows:
        return None
    columns = [
        "method",
        "state 0",
        "best",
        "best state",
        "last",
        "last state",
        "mean of states ≥ 2",
        f"last − {findings.baseline}",
        "runs",
    ]
    note = (
        f"{MEASURE} The best state is the one with the highest mean validation accuracy. The last column compares with "
        f"{findings.baseline} in the same state, which has had as many epochs, paired by seed, with a 95 % confidence interval "
        f"from three seeds on. {' '.join(notes)}"
    )
    return Table(f"overall-{slug(dataset)}", "Overall result", columns, rows, pd.DataFrame(lines), note.strip())


def _against_baseline(findings: Findings, variant: Variant) -> tuple[Paired | None, int | None]:
    other = findings.baseline_of(variant)
    if other is None:
        return None, None
    pair = compare.Pair(variant, other)
    state = compare.decisive_state(findings.study, pair)
    return (None, None) if state is None else (compare.difference(findings.study, pair, state), state)


def _without_flagged(findings: Findings, variant: Variant, states: list[int]) -> str:
    """One sentence that gives the mean over states without the anomalous accuracies."""
    study = findings.study
    means, left_out = [], []
    for run in variant.runs:
        values = {s: study.by_seed(variant, ACCURACY, s).get(run.seed) for s in states}
        if any(value is None for value in values.values()):
            continue
        kept = [value for s, value in values.items() if value is not None and (run.key, s) not in findings.flagged]
        left_out += [f"state {s} of {run.key}" for s in states if (run.key, s) in findings.flagged]
        if kept:
            means.append(sum(kept) / len(kept))
    return f"{FLAG} Without {', '.join(left_out)}, {variant.label}'s mean is {mean_std(summarise(means))}." if left_out else ""


def by_state(findings: Findings, dataset: str) -> Table | None:
    """Accuracy of every variant in every state, and the paired differences."""
    study = findings.study
    variants = [variant for variant in study.of(dataset) if study.finished(variant)]
    if not variants:
        return None
    pairs = [pair for pair in findings.pairs(dataset) if compare.common_states(study, pair)]
    states = sorted({state for variant in variants for state in study.finished(variant)})
    rates = {state: _rates(findings, variants, state) for state in states}
    one_rate = all(len(value) <= 1 for value in rates.values())
    columns = [
        "state",
        "rate (%)",
        *(f"{v.label} ({count(len(v.runs), 'run')})" for v in variants),
        *(p.label for p in pairs),
    ]
    rows, lines = [], []
    for state in states:
        shown = " / ".join(number(100 * rate, 1) for rate in rates[state]) or number(0.0, 1)
        summaries = [(variant, findings.summary(variant, state)) for variant in variants]
        cells = [mark(mean_std(s, len(v.runs)), findings, v, [state]) for v, s in summaries]
        found = [(pair, compare.difference(study, pair, state)) for pair in pairs]
        rows.append([str(state), shown, *cells, *(difference(paired) for _, paired in found)])
        lines += [{**about(v), "state": state, **_state_raw(findings, v, state, s)} for v, s in summaries]
    note = (
        MEASURE
        + " Differences are paired by seed; in brackets the 95 % confidence interval (Student's t), from three seeds on. "
    )
    note += "The intervals of single states are not corrected for looking at many states."
    hidden = compare.pairs(study, dataset, findings.baseline)[1]
    if hidden:
        note += f" {hidden} more pairs are not shown; choose the one to compare with by --baseline."
    if not one_rate:
        note += " The variants prune at different rates in the same state, so state-wise differences are not at equal size."
    if any(FLAG in cell for row in rows for cell in row):
        note += f" {FLAG} An anomalous accuracy is in this number."
    return Table(f"accuracy_by_state-{slug(dataset)}", "Accuracy state by state", columns, rows, pd.DataFrame(lines), note)


def _rates(findings: Findings, variants: list[Variant], state: int) -> list[float]:
    """The different rates (fractions) of the variants that prune."""
    found = {summary.mean for v in variants if v.prunes and (summary := findings.summary(v, state, "rate")) is not None}
    return sorted({round(rate, 6) for rate in found})


def _state_raw(findings: Findings, variant: Variant, state: int, summary: Summary | None) -> dict[str, Any]:
    rate = findings.summary(variant, state, "rate")
    return {
        "rate": None if rate is None else rate.mean,
        **raw(ACCURACY, summary),
        **raw("test_accuracy_final", findings.summary(variant, state, "test_accuracy_final")),
        **raw("val_accuracy_best", findings.summary(variant, state, "val_accuracy_best")),
        "flagged": findings.is_flagged(variant, [state]),
    }


def differences(findings: Findings, dataset: str) -> Table | None:
    """Per pair: the difference in the decisive state and its mean over the pruned states up to it."""
    study, rows, lines = findings.study, [], []
    for pair in findings.pairs(dataset):
        state = compare.decisive_state(study, pair)
        if state is None:
            continue
        at_state = compare.difference(study, pair, state)
        mean, states = compare.mean_difference(study, pair)
        seeds = sorted(at_state.differences) if at_state else []
        runs = tuple(run for variant in (pair.first, pair.second) for run in variant.runs if run.seed in seeds)
        rows.append([
            pair.label,
            str(state),
            difference(at_state),
            difference(mean) + (f", states {ranges(states)}" if states else ""),
            ranges(seeds),
            both_verdicts(at_state, mean),
            run_keys(runs),
        ])  # fmt: skip
        lines.append({
            "dataset": dataset, "first": pair.first.label, "second": pair.second.label, "state": state,
            **raw_difference("difference", at_state), "mean_states": ranges(states), **raw_difference("mean_difference", mean),
            "seeds": ranges(seeds), "runs": run_keys(runs), "directories": directories(runs),
        })  # fmt: skip
    if not rows:
        return None
    columns = ["difference (points)", "state", "in that state", "mean over pruned states", "seeds", "verdict", "runs"]
    note = (
        "The state is the last one in which most seeds are paired. Intervals (95 %, Student's t over seeds) know of the spread "
        "between seeds only, not of the test set's own sampling error, which all runs share."
    )
    return Table(f"differences-{slug(dataset)}", "Differences between methods", columns, rows, pd.DataFrame(lines), note)


def verdict(found: Paired | None) -> str:
    """What the seeds allow to say about a difference."""
    if found is None:
        return NOTHING
    if found.beyond_noise is not None:
        return "beyond seed noise" if found.beyond_noise else "no difference beyond seed noise"
    return "one seed: no spread known" if found.n == 1 else f"{found.n} seeds: too few for an interval"


def both_verdicts(at_state: Paired | None, mean: Paired | None) -> str:
    """The verdict on the state, and on the mean over states where it is another."""
    first, second = verdict(at_state), verdict(mean)
    return first if mean is None or first == second else f"{first}; mean: {second}"


def every_state(findings: Findings, dataset: str) -> Table | None:
    """The reference's appendix: best, final and time of each state, per variant."""
    study, rows, lines = findings.study, [], []
    names = ["val_accuracy_best", ACCURACY, "test_accuracy_final"]
    for variant in study.of(dataset):
        for state in study.finished(variant):
            n = len(variant.runs)
            summaries = [findings.summary(variant, state, name) for name in names]
            seconds, epoch = findings.summary(variant, state, "seconds"), findings.summary(variant, state, "best_epoch")
            minutes = None if seconds is None else Summary(seconds.mean / 60, seconds.std / 60, seconds.n)
            cells = [mark(mean_std(s, n), findings, variant, [state]) for s in summaries]
            rows.append(
                [variant.label, str(state), *cells, mean_std(epoch, n, 0), mean_std(minutes, n), run_keys(variant.runs)]
            )
            lines.append({**about(variant), "state": state, **raws(dict(zip(names, summaries, strict=True))),
                         **raw("best_epoch", epoch), **raw("seconds", seconds)})  # fmt: skip
    if not rows:
        return None
    columns = [
        "method",
        "state",
        "val, best epoch",
        "test, best epoch",
        "test, final epoch",
        "best epoch",
        "minutes",
        "runs",
    ]
    note = "Accuracies in percent. The best epoch is chosen on validation."
    return Table(f"every_state-{slug(dataset)}", "Every state", columns, rows, pd.DataFrame(lines), note, folded=True)
