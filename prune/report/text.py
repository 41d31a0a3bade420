"""Numbers as a reader wants them."""

from __future__ import annotations

import math
import re

from prune.base.files import sha256_of
from prune.base.text import UNITS, count
from prune.report.paired import Paired
from prune.report.statistics import Summary

LONGEST = 120
"""Characters of a slug: file systems take 255 in a name, with what stands before and after it."""

NOTHING = "–"
"""What a cell shows where there is no value."""


def number(value: float | None, digits: int = 2) -> str:
    """`81.70`; a dash for nothing or nan."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    """`+1.07`, with a true minus sign; no sign where it rounds to zero."""
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def mean_std(summary: Summary | None, expected: int | None = None, digits: int = 2) -> str:
    """`81.12 ± 0.24`; one value has no ±. Where fewer runs than `expected` count, it says how many: `(n = 2)`."""
    if summary is None:
        return NOTHING
    spread = f" ± {summary.std:.{digits}f}" if summary.n > 1 else ""
    fewer = f" (n = {summary.n})" if expected is not None and summary.n != expected else ""
    return f"{summary.mean:.{digits}f}".replace("-", "−") + spread + fewer


def difference(paired: Paired | None, digits: int = 2) -> str:
    """`+1.07 [+0.52, +1.62]`; where there is no interval, how many seeds; `identical` where all are 0."""
    if paired is None:
        return NOTHING
    if not any(paired.differences.values()):
        return "identical"
    if paired.interval is not None:
        low, high = paired.interval
        return f"{signed(paired.mean, digits)} [{signed(low, digits)}, {signed(high, digits)}]"
    return f"{signed(paired.mean, digits)} ({count(paired.n, 'seed')})"


def probability(p: float | None) -> str:
    """A p-value: `0.0123`, `< 0.0001`; a dash where there is none."""
    if p is None:
        return NOTHING
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.995 else "1"


def large(value: float | None) -> str:
    """Parameters, MACs or FLOPs: `21.34 M`, `1.42 G`, `24.55 P`."""
    if value is None or math.isnan(value):
        return NOTHING
    for size, unit in UNITS:
        if abs(value) >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:.0f}"


def time_taken(seconds: float | None) -> str:
    """`3.1 h`, `12.4 min`, `45.2 s`."""
    if seconds is None or math.isnan(seconds):
        return NOTHING
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def slug(text: str) -> str:
    """Safe as an anchor and as part of a file's name. A long one ends in a digest of the whole instead."""
    safe = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return safe if len(safe) <= LONGEST else f"{safe[: LONGEST - 9].rstrip('-')}-{sha256_of(text)[:8]}"
