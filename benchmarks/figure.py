"""One figure of the table: a value, its spread, and what it should reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from benchmarks.timing import quartiles


@dataclass(frozen=True)
class Figure:
    """A measured ratio.

    Attributes:
        value: the median over rounds (or the one value that there is).
        low, high: its quartiles over rounds.
        limit, at_most: the value should be at most (or at least) the limit.
        notes: absolute numbers behind the ratio, for the JSON file and docs/performance.md.
    """

    name: str
    value: float
    low: float
    high: float
    limit: float
    at_most: bool
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, rounds: Sequence[float], limit: float, at_most: bool, **notes: Any) -> Figure:
        """From the ratio of each round."""
        low, middle, high = quartiles(rounds)
        return cls(name, middle, low, high, limit, at_most, notes)

    @property
    def reached(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit


def table(figures: Sequence[Figure], title: str) -> Table:
    """The table that the command prints."""
    result = Table(title=title)
    for column in ("figure", "value", "quartiles", "to reach", "reached", "from"):
        result.add_column(column, justify="left" if column in ("figure", "from") else "right")
    for figure in figures:
        bound = f"{'≤' if figure.at_most else '≥'} {figure.limit:.4g}"
        shown = ", ".join(
            f"{key} {_short(value)}" for key, value in figure.notes.items() if not isinstance(value, (dict, list))
        )
        spread = f"{_short(figure.low)} … {_short(figure.high)}"
        result.add_row(figure.name, _short(figure.value), spread, bound, "yes" if figure.reached else "no", shown)
    return result


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
