"""A table in its two forms: as a reader sees it, and as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prune.report.findings import Findings, directories, run_keys
from prune.report.statistics import Paired, Summary
from prune.report.study import Variant

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


def raw_difference(name: str, paired: Paired | None) -> dict[str, Any]:
    """A paired difference as CSV columns."""
    if paired is None:
        return {
            f"{name}_mean": None,
            f"{name}_std": None,
            f"{name}_n": 0,
            f"{name}_ci_low": None,
            f"{name}_ci_high": None,
        }
    low, high = paired.interval or (None, None)
    std = None if math.isnan(paired.std) else paired.std
    return {
        f"{name}_mean": paired.mean,
        f"{name}_std": std,
        f"{name}_n": paired.n,
        f"{name}_ci_low": low,
        f"{name}_ci_high": high,
    }


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
