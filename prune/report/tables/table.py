"""A table in its two forms: as a reader sees it, and as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prune.report.findings import Findings, directories, run_keys
from prune.report.paired import Paired
from prune.report.run import Variant
from prune.report.statistics import Summary

FLAG = "†"
"""Marks a number that an anomalous accuracy enters."""


@dataclass(frozen=True)
class Table:
    """What one table shows.

    Attributes:
        name: file stem of the CSV.
        title: heading.
        columns, rows: cells as text. A column named `runs` holds run keys.
        frame: the same in full precision, with the run directories: the CSV.
        note: what a reader must know to read it, one paragraph.
        folded: closed in the page until asked for.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    frame: pd.DataFrame
    note: str = ""
    folded: bool = False


def raw(name: str, summary: Summary | None) -> dict[str, Any]:
    """A summary as CSV columns."""
    if summary is None:
        return {f"{name}_mean": None, f"{name}_std": None, f"{name}_n": 0}
    std = None if math.isnan(summary.std) else summary.std
    return {f"{name}_mean": summary.mean, f"{name}_std": std, f"{name}_n": summary.n}


def raws(summaries: Mapping[str, Summary | None]) -> dict[str, Any]:
    """Several summaries as CSV columns."""
    return {column: value for name, summary in summaries.items() for column, value in raw(name, summary).items()}


DIFFERENCE = ("mean", "std", "n", "ci_low", "ci_high", "p", "images", "images_by")
"""What a CSV says of a difference: mean and spread over n seeds, the single 95 % interval, its p-value, the test images, and
whether their part in the error comes from the `images` themselves or from a bound by the `accuracies`."""


def raw_difference(name: str, paired: Paired | None) -> dict[str, Any]:
    """A paired difference as CSV columns."""
    if paired is None:
        return {f"{name}_{key}": 0 if key == "n" else None for key in DIFFERENCE}
    values = (
        paired.mean,
        None if math.isnan(paired.std) else paired.std,
        paired.n,
        *(paired.interval or (None, None)),
        paired.p,
        paired.sampling.images if paired.sampling else None,
        paired.sampling.known_by if paired.sampling else None,
    )
    return {f"{name}_{key}": value for key, value in zip(DIFFERENCE, values, strict=True)}


def about(variant: Variant) -> dict[str, Any]:
    """The CSV columns that say what a row is of and which directories it comes from."""
    return {
        "dataset": variant.dataset,
        "method": variant.method,
        "variant": variant.label,
        "runs": run_keys(variant.runs),
        "directories": directories(variant.runs),
    }


def mark(text: str, findings: Findings, variant: Variant, states: list[int]) -> str:
    """`text` with the flag where an anomalous accuracy is in it."""
    return text + f" {FLAG}" if findings.is_flagged(variant, states) else text


def chosen_states(states: Sequence[int]) -> list[int]:
    """State 0 and the last of the given states: the two that short tables show."""
    return sorted({min(states), max(states)}) if states else []
