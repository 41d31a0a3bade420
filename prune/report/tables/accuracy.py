"""Accuracy: the overall result, and state by state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from prune.base.text import count, ranges
from prune.report import budgets, compare, pruned
from prune.report.columns import ACCURACY, PRUNED_PARAMETERS, pruned_column
from prune.report.findings import Findings, run_keys
from prune.report.paired import Paired
from prune.report.run import Variant, kinds_of, recorded_columns
from prune.report.statistics import Summary, summarise
from prune.report.tables.differences import SINGLE, sampling_note
from prune.report.tables.table import FLAG, Table, about, mark, raw, raw_difference, raws
from prune.report.text import NOTHING, difference, mean_std, slug

MEASURE = (
    "Top-1 test accuracy in percent of each state's model that was best on validation; mean ± standard deviation over seeds."
)

TOP5 = "test_top5_best"


def has_top5(findings: Findings, dataset: str) -> bool:
    """Whether some run on a dataset measured top-5 accuracy."""
    return any(findings.study.finished(variant, TOP5) for variant in findings.study.of(dataset))


def overall(findings: Findings, dataset: str) -> Table | None:
    """State 0, best, last, mean over states ≥ 2, and the last state against the baseline in that state."""
    rows, lines, notes, every = [], [], [], []
    top5 = has_top5(findings, dataset)
    for variant in findings.study.of(dataset):
        last, best = findings.last_state(variant), compare.best_state(findings.study, variant)
        if last is None:
            continue
        n = len(variant.runs)
        means, states = compare.mean_over_states(findings.study, variant)
        mean = summarise(means.values())
        zero, at_best, at_last = (findings.summary(variant, state) for state in (0, best, last))
        other = findings.baseline_of(variant)
        against, at = _against(findings, variant, other)
        every.append(against)
        five = findings.summary(variant, last, TOP5)
        if findings.is_flagged(variant, states):
            notes.append(_without_flagged(findings, variant, states))
        rows.append([
            variant.label,
            mean_std(zero, n),
            mark(mean_std(at_best, n), findings, variant, [] if best is None else [best]),
            NOTHING if best is None else str(best),
            mark(mean_std(at_last, n), findings, variant, [last]),
            str(last) if last == variant.planned_states - 1 else f"{last} of {variant.planned_states - 1}",
            *([mean_std(five, n)] if top5 else []),
            mark(mean_std(mean, n), findings, variant, states) + (f", states {ranges(states)}" if states else ""),
            _named(difference(against), other, findings.baseline, None if at == last else at),
            budgets.epochs(findings, variant, last),
            budgets.flops(findings, variant, last),
            run_keys(variant.runs),
        ])  # fmt: skip
        lines.append({
            **about(variant), **raw("state_0", zero), "best_state": best, **raw("best", at_best), "last_state": last,
            "planned_last_state": variant.planned_states - 1, **raw("last", at_last), **raw("last_top5", five),
            "mean_states": ranges(states), **raw("mean", mean), "baseline": None if other is None else other.label,
            "against_baseline_state": at, **raw_difference("against_baseline", against),
            **raws({column: findings.summary(variant, last, column) for column in (budgets.EPOCHS, budgets.FLOPS)}),
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
        *(["last, top-5"] if top5 else []),
        "mean of states ≥ 2",
        f"last − {findings.baseline}",
        "epochs since rewind",
        "training FLOPs",
        "runs",
    ]
    note = (
        f"{MEASURE} The best state is the one with the highest mean validation accuracy. “last − {findings.baseline}” compares "
        f"with {findings.baseline} in the same state. {SINGLE} Epochs since the weights were last rewound, and training FLOPs "
        f"of the run by then, are of the last state. {_budgets(findings, dataset)} {sampling_note(every)} {' '.join(notes)}"
    )
    frame = pd.DataFrame(lines)
    return Table(f"overall-{slug(dataset)}", "Overall result", columns, rows, frame, " ".join(note.split()))


def _against(findings: Findings, variant: Variant, other: Variant | None) -> tuple[Paired | None, int | None]:
    if other is None:
        return None, None
    pair = compare.Pair(variant, other)
    state = compare.decisive_state(findings.study, pair)
    return (None, None) if state is None else (compare.difference(findings.study, pair, state), state)


def _named(text: str, other: Variant | None, baseline: str, state: int | None) -> str:
    """A difference, and what it is from where that is not what the column says."""
    text += "" if state is None else f" in state {state}"
    return text if other is None or other.label == baseline else f"{text} ({other.label})"


def _budgets(findings: Findings, dataset: str) -> str:
    """Whether those that are compared with the baseline have had as many epochs as it has."""
    results = [r for r in findings.results(dataset) if r.of_one_state and findings.baseline_of(r.pair.first) is r.pair.second]
    different = [r for r in results if budgets.unequal(findings, r)]
    known = [r for r in results if NOTHING not in budgets.both(findings, r, budgets.epochs)]
    if different:
        each = "; ".join(f"{r.label} in state {r.state}: {budgets.both(findings, r, budgets.epochs)}" for r in different)
        return f"Not equally trained (epochs since rewind): {each}."
    return "All have had as many epochs since then as what they are compared with." if known and known == results else ""


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
    pairs = [pair for pair in findings.leading_pairs(dataset) if compare.common_states(study, pair)]
    states = sorted({state for variant in variants for state in study.finished(variant)})
    columns = [
        "state",
        "pruned (%)",
        "epochs since rewind",
        "training FLOPs",
        *(f"{v.label} ({count(len(v.runs), 'run')})" for v in variants),
        *(p.label for p in pairs),
    ]
    rows, lines, every = [], [], []
    for state in states:
        gone = {v.label: pruned.by_kind(findings, v, state) for v in variants if v.prunes and study.by_seed(v, ACCURACY, state)}
        trained = [budgets.in_one_state(findings, variants, state, part) for part in (budgets.epochs, budgets.flops)]
        summaries = [(variant, findings.summary(variant, state)) for variant in variants]
        cells = [mark(mean_std(s, len(v.runs)), findings, v, [state]) for v, s in summaries]
        found = [compare.difference(study, pair, state) for pair in pairs]
        every += found
        rows.append([str(state), budgets.by_value(gone), *trained, *cells, *map(difference, found)])
        lines += [{**about(v), "state": state, **_state_raw(findings, v, state, s)} for v, s in summaries]
    note = f"{MEASURE} Pruned: units of each kind that are gone since the start, as counted."
    if pairs:
        note += f" {SINGLE} Intervals of single states are not corrected for looking at many. {sampling_note(every)}"
    if len(findings.leading_pairs(dataset)) < len(findings.pairs(dataset)):
        note += " The other pairs are in “Differences state by state”."
    if not _alike(findings, variants, states):
        note += (
            " The variants are pruned by different amounts in the same state, so differences in a state are not at equal size."
        )
    if any(FLAG in cell for row in rows for cell in row):
        note += f" {FLAG} An anomalous accuracy is in this number."
    return Table(
        f"accuracy_by_state-{slug(dataset)}", "Accuracy state by state", columns, rows, pd.DataFrame(lines), note.strip()
    )


def _alike(findings: Findings, variants: Sequence[Variant], states: Sequence[int]) -> bool:
    """Whether the variants that prune have the same counted fractions in every state."""
    shown = {state: {pruned.by_kind(findings, v, state) for v in variants if v.prunes} - {NOTHING} for state in states}
    return all(len(texts) <= 1 for texts in shown.values())


def _state_raw(findings: Findings, variant: Variant, state: int, summary: Summary | None) -> dict[str, Any]:
    columns = ["rate", *map(pruned_column, kinds_of([variant])), PRUNED_PARAMETERS, budgets.EPOCHS, budgets.FLOPS]
    found = {column: findings.summary(variant, state, column) for column in columns}
    return {
        **{column: None if value is None else value.mean for column, value in found.items()},
        **raw(ACCURACY, summary),
        **raw("test_accuracy_final", findings.summary(variant, state, "test_accuracy_final")),
        **raw("val_accuracy_best", findings.summary(variant, state, "val_accuracy_best")),
        "flagged": findings.is_flagged(variant, [state]),
    }


def every_state(findings: Findings, dataset: str) -> Table | None:
    """Each state of each variant: what is gone, how it was trained, how good it is, and what the method recorded."""
    study, rows, lines = findings.study, [], []
    variants = study.of(dataset)
    names = ["val_accuracy_best", ACCURACY, "test_accuracy_final", *([TOP5] if has_top5(findings, dataset) else [])]
    own = recorded_columns(variants)
    for variant in variants:
        for state in study.finished(variant):
            n = len(variant.runs)
            summaries = [findings.summary(variant, state, name) for name in names]
            seconds, epoch = findings.summary(variant, state, "seconds"), findings.summary(variant, state, "best_epoch")
            minutes = None if seconds is None else Summary(seconds.mean / 60, seconds.std / 60, seconds.n)
            recorded = {column: _recorded(findings, variant, state, column) for column in own}
            rows.append([
                variant.label, str(state), pruned.by_kind(findings, variant, state),
                pruned.of_parameters(findings, variant, state), pruned.scheduled(findings, variant, state),
                budgets.epochs(findings, variant, state), budgets.flops(findings, variant, state),
                *(mark(mean_std(s, n), findings, variant, [state]) for s in summaries),
                mean_std(epoch, n, 0), mean_std(minutes, n), *recorded.values(), run_keys(variant.runs),
            ])  # fmt: skip
            amounts = ["rate", *map(pruned_column, kinds_of(variants)), PRUNED_PARAMETERS, budgets.EPOCHS, budgets.FLOPS]
            lines.append({
                **about(variant), "state": state, **raws(dict(zip(names, summaries, strict=True))),
                **raws({column: findings.summary(variant, state, column) for column in amounts}),
                **raw("best_epoch", epoch), **raw("seconds", seconds), **recorded,
            })  # fmt: skip
    if not rows:
        return None
    columns = [
        "method",
        "state",
        "pruned (%)",
        "parameters pruned (%)",
        "scheduled (%)",
        "epochs since rewind",
        "training FLOPs",
        "val, best epoch",
        "test, best epoch",
        "test, final epoch",
        *(["test top-5, best epoch"] if TOP5 in names else []),
        "best epoch",
        "minutes",
        *own,
        "runs",
    ]
    note = (
        "Accuracies in percent. The best epoch is chosen on validation. Pruned: counted, units of each kind and share of all "
        "parameters; scheduled: the rate that the schedule asked for, of units unless it says otherwise."
    )
    if own:
        note += f" Recorded by the methods themselves: {', '.join(own)}."
    return Table(f"every_state-{slug(dataset)}", "Every state", columns, rows, pd.DataFrame(lines), note, folded=True)


def _recorded(findings: Findings, variant: Variant, state: int, column: str) -> str:
    """A method's own column: mean ± std of numbers, the different texts or truth values otherwise."""
    summary = findings.summary(variant, state, column)
    if summary is not None:
        spread = f" ± {summary.std:.3g}" if summary.n > 1 and summary.std > 0 else ""
        return f"{summary.mean:.6g}{spread}".replace("-", "−")
    values = [run.recorded(state).get(column) for run in variant.runs]
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values if value is not None]
    return ", ".join(dict.fromkeys(texts)) or NOTHING
