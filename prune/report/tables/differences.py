"""The differences between variants, and what may be said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from prune.base.text import count, ranges
from prune.report import budgets, compare
from prune.report.findings import Findings, Result, Verdict, directories, run_keys
from prune.report.paired import Paired
from prune.report.tables.table import Table, raw_difference
from prune.report.text import NOTHING, difference, probability, slug

SINGLE = (
    "In brackets the 95 % confidence interval of that one difference, from three seeds on: of the seeds' spread and the test "
    "images' sampling error, paired by both."
)


def leading(findings: Findings, dataset: str) -> Table | None:
    """Per pair: the difference in the decisive state, its mean over the pruned states up to it, and the verdict."""
    pairs = findings.leading_pairs(dataset)
    results = [r for r in findings.results(dataset) if r.pair in pairs or not r.of_one_state]
    return _table(findings, results, f"differences-{slug(dataset)}", "Differences between methods", folded=False)


def others(findings: Findings, dataset: str) -> Table | None:
    """The pairs without the baseline, where there are too many for one table."""
    pairs = findings.leading_pairs(dataset)
    results = [r for r in findings.results(dataset) if r.pair not in pairs and r.of_one_state]
    title = "Differences between the other configurations"
    return _table(findings, results, f"other_differences-{slug(dataset)}", title, folded=True)


def _table(findings: Findings, results: Sequence[Result], name: str, title: str, folded: bool) -> Table | None:
    if not results:
        return None
    rows, lines = [], []
    for r in results:
        found, mean = r.at_state.found, None if r.mean is None else r.mean.found
        seeds, states = sorted(found.differences), ranges(r.states)
        runs = tuple(run for variant in (r.pair.first, r.pair.second) for run in variant.runs if run.seed in seeds)
        rows.append([
            r.label,
            str(r.state) if r.of_one_state else f"{r.state} and {r.against}",
            budgets.both(findings, r, budgets.epochs),
            budgets.both(findings, r, budgets.flops),
            difference(found),
            NOTHING if mean is None else f"{difference(mean)}, states {states}",
            ranges(seeds),
            _each(r, lambda verdict: probability(verdict.adjusted)),
            _each(r, in_words),
            run_keys(runs),
        ])  # fmt: skip
        lines.append({
            "dataset": r.pair.first.dataset, "first": r.pair.first.label, "second": r.pair.second.label,
            "state": r.state, "state_of_second": r.against,
            **{f"{column}_{side}": None if (s := findings.summary(variant, state, column)) is None else s.mean
               for column in (budgets.EPOCHS, budgets.FLOPS)
               for side, variant, state in (("first", r.pair.first, r.state), ("second", r.pair.second, r.against))},
            **raw_difference("difference", found), "difference_p_holm": r.at_state.adjusted,
            "mean_states": states, **raw_difference("mean_difference", mean),
            "mean_difference_p_holm": None if r.mean is None else r.mean.adjusted,
            "seeds": ranges(seeds), "runs": run_keys(runs), "directories": directories(runs),
        })  # fmt: skip
    columns = ["difference (points)", "state", "epochs since rewind", "training FLOPs", "in that state",
               "mean over pruned states", "seeds", "p (Holm)", "verdict", "runs"]  # fmt: skip
    note = (
        "The state is the last one in which most seeds are paired; epochs since the last rewind and training FLOPs of the run "
        f"by then are of the first and of the second. {SINGLE} {corrected(findings)} "
        f"{sampling_note(v.found for r in results for v in r.verdicts)}"
    )
    return Table(name, title, columns, rows, pd.DataFrame(lines), note.strip(), folded)


def _each(result: Result, shown: Callable[[Verdict], str]) -> str:
    """Of the state, and of the mean over states where that is judged as well and is something else."""
    texts = [shown(verdict) for verdict in result.verdicts]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]}; mean: {texts[1]}"


def corrected(findings: Findings) -> str:
    """How many differences the page judges, and what a verdict on one of them means."""
    if not findings.judged:
        return "No difference of this page can be judged: that needs three paired seeds."
    return (
        f"Verdicts go by Holm's p-values for all {findings.judged} differences that this page judges: were there none at all, "
        "it would claim one with a probability of at most 5 %. Intervals are single ones."
    )


def in_words(verdict: Verdict) -> str:
    """What may be said of a difference."""
    if verdict.beyond_noise is not None:
        return "beyond noise" if verdict.beyond_noise else "no difference beyond noise"
    return unjudged(verdict.found)


def unjudged(found: Paired) -> str:
    """Why nothing may be said of a difference."""
    if found.n == 1:
        return "one seed: no spread known"
    return f"{found.n} seeds: too few for an interval" if found.n == 2 else "number of test images not known: no interval"


def sampling_note(every: Iterable[Paired | None]) -> str:
    """One sentence where the test images' part in an error is not known from their predictions; else empty."""
    judged = [found for found in every if found is not None and found.judged]
    bounded = [found for found in judged if found.sampling is not None and found.sampling.known_by == "accuracies"]
    if not bounded:
        return ""
    which = "Predictions are missing" if len(bounded) == len(judged) else f"For {len(bounded)} of these predictions are missing"
    images = sorted({found.sampling.images for found in bounded if found.sampling is not None})
    return (
        f"{which}: the test images' part in the error is a bound by the accuracies alone, as if errors were independent, on "
        f"{' or '.join(map(str, images))} images, which makes intervals wide."
    )


def by_state(findings: Findings, dataset: str) -> Table | None:
    """Pair by pair and state by state, where the pairs are too many for columns of the table by state."""
    study, rows, lines, every = findings.study, [], [], []
    pairs = findings.pairs(dataset)
    if len(pairs) == len(findings.leading_pairs(dataset)):
        return None
    for pair in pairs:
        for state in compare.common_states(study, pair):
            found = compare.difference(study, pair, state)
            assert found is not None
            every.append(found)
            shared = tuple(run for v in (pair.first, pair.second) for run in v.runs if run.seed in found.differences)
            sides = (pair.first, pair.second)
            trained = [" / ".join(part(findings, v, state) for v in sides) for part in (budgets.epochs, budgets.flops)]
            rows.append([pair.label, str(state), *trained, difference(found), count(found.n, "seed"), run_keys(shared)])
            lines.append({
                "dataset": dataset, "first": pair.first.label, "second": pair.second.label, "state": state,
                **raw_difference("difference", found), "runs": run_keys(shared), "directories": directories(shared),
            })  # fmt: skip
    columns = ["difference (points)", "state", "epochs since rewind", "training FLOPs", "in that state", "paired", "runs"]
    note = f"{SINGLE} Single ones, of many pairs and states: for their size, not for verdicts. {sampling_note(every)}"
    name = f"differences_by_state-{slug(dataset)}"
    return Table(name, "Differences state by state", columns, rows, pd.DataFrame(lines), note.strip(), folded=True)
