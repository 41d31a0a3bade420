"""Accuracy at equal size: every configuration at the same numbers of parameters, and of MACs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from prune.report import budgets, equal_size
from prune.report.columns import ACCURACY
from prune.report.equal_size import MEASURES, Place
from prune.report.findings import Findings, run_keys
from prune.report.run import Run, Variant
from prune.report.statistics import Summary, summarise
from prune.report.tables.table import Table, about, mark, raw
from prune.report.text import large, mean_std, slug

READ_OFF = (
    "Between two neighbouring states of a run the accuracy is read off the straight line through both, over the counted size; "
    "at a state's own size it is that state's (of several the last). Beyond a run's largest and smallest state nothing is read "
    "off: a dash."
)


@dataclass(frozen=True)
class Reading:
    """What a variant's runs reach at one size.

    Attributes:
        accuracy: mean and spread over the seeds that reach it.
        places: the runs that do, and between which of their states.
    """

    measure: str
    size: float
    accuracy: Summary | None
    places: list[tuple[Run, Place]]


def readings(findings: Findings, variant: Variant) -> list[Reading]:
    """A variant at each of the sizes at which its dataset's models are compared."""
    found = []
    for measure in MEASURES:
        for size in equal_size.compared_sizes(findings, variant.dataset, measure):
            places = equal_size.places(findings, variant, measure, size)
            found.append(Reading(measure, size, _mean(findings, variant, ACCURACY, places), places))
    return found


def _mean(findings: Findings, variant: Variant, column: str, places: list[tuple[Run, Place]]) -> Summary | None:
    """A column of `Study.states`, read off each run's line."""
    study, values = findings.study, []
    for run, where in places:
        by_state = {state: study.by_seed(variant, column, state) for state in where.states}
        values.append(where.read({state: found[run.seed] for state, found in by_state.items() if run.seed in found}))
    return summarise(value for value in values if value is not None)


def at_equal_size(findings: Findings, dataset: str) -> Table | None:
    """A row a configuration, a column a size: parameters first, then MACs."""
    rows, lines = [], []
    sizes = [(measure, size) for measure in MEASURES for size in equal_size.compared_sizes(findings, dataset, measure)]
    for variant in findings.study.of(dataset) if sizes else ():
        found = readings(findings, variant)
        if not variant.prunes and not any(reading.places for reading in found):
            continue
        rows.append([
            variant.label,
            *(_cell(findings, variant, reading) for reading in found),
            *_trained(findings, variant, found),
            run_keys(variant.runs),
        ])  # fmt: skip
        lines += [_line(findings, variant, reading) for reading in found]
    if not rows:
        return None
    headings = [equal_size.heading(size, measure) for measure, size in sizes]
    columns = ["method", *headings, "epochs since rewind", "training FLOPs", "runs"]
    note = (
        "Top-1 test accuracy in percent of the models that were best on validation; mean ± standard deviation over seeds. "
        f"{READ_OFF} Sizes are round numbers that at least two models reach. Epochs since the weights were last rewound, and "
        "training FLOPs of the run by then, are those of the states that were read. Nothing was trained at exactly these "
        "sizes, so no difference here is judged; the CSV says between which states each number lies."
    )
    return Table(f"equal_size-{slug(dataset)}", "Accuracy at equal size", columns, rows, pd.DataFrame(lines), note)


def _cell(findings: Findings, variant: Variant, reading: Reading) -> str:
    text = mean_std(reading.accuracy, len(variant.runs))
    flagged = any((run.key, state) in findings.flagged for run, where in reading.places for state in where.states)
    return mark(text, findings, variant, _states(reading)) if flagged else text


def _states(reading: Reading) -> list[int]:
    """The states that were read, of all runs, ascending."""
    return sorted({state for _, where in reading.places for state in where.states})


def _trained(findings: Findings, variant: Variant, found: list[Reading]) -> tuple[str, str]:
    """Epochs since the last rewind, and training FLOPs, from the least to the most of the states that were read."""
    states = sorted({state for reading in found for state in _states(reading)})
    epochs, flops = (
        [summary.mean for state in states if (summary := findings.summary(variant, state, column)) is not None]
        for column in (budgets.EPOCHS, budgets.FLOPS)
    )
    return budgets.span(epochs, budgets.whole), budgets.span(flops, large)


def _line(findings: Findings, variant: Variant, reading: Reading) -> dict[str, Any]:
    """A row of the CSV: what else a model on the line would have, and between which states it lies."""
    other = {column: _mean(findings, variant, column, reading.places) for column in (*MEASURES, budgets.EPOCHS, budgets.FLOPS)}
    between = dict.fromkeys("–".join(map(str, dict.fromkeys(where.states))) for _, where in reading.places)
    return {
        **about(variant), "measure": reading.measure, "size": reading.size, **raw(ACCURACY, reading.accuracy),
        "states": ", ".join(between) or None,
        **{f"{column}_mean": None if value is None else value.mean for column, value in other.items()},
    }  # fmt: skip
