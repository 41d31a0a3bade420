"""A paired difference in words: what it is, how sure, and what may be called a difference."""

from __future__ import annotations

from prune.base.text import count
from prune.report.findings import Verdict
from prune.report.paired import Paired
from prune.report.tables.differences import unjudged
from prune.report.text import number, probability, signed


def finding(verdict: Verdict, warn: bool = True) -> str:
    """What a paired difference shows. Only what Holm's p-value supports is called a difference.

    Args:
        warn: say that the seeds support no conclusion (false where the sentence has said so already).
    """
    found = verdict.found
    if not any(found.differences.values()):
        return f"identical accuracy in {count(found.n, 'seed')}"
    if verdict.beyond_noise is None:
        return amount(found) + (f", {unjudged(found)}, so no conclusion" if warn else "")
    evidence = f"{_evidence(found)}, Holm p {_compared(verdict.adjusted)}"
    if verdict.beyond_noise:
        return f"{number(abs(found.mean))} points {'higher' if found.mean > 0 else 'lower'} ({evidence})"
    alone = found.p is not None and found.p <= 0.05
    doubt = "; by itself the interval excludes zero, among all that this page judges that is not enough" if alone else ""
    return f"no difference beyond noise ({signed(found.mean)} points, {evidence}{doubt})"


def _compared(p: float | None) -> str:
    """`= 0.012`, `< 0.0001`."""
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"


def amount(found: Paired) -> str:
    """A difference and its interval; of two seeds both differences."""
    if found.n == 2:
        return f"{' and '.join(signed(value) for value in found.differences.values())} points"
    return f"{signed(found.mean)} points" + (f" ({_evidence(found)})" if found.interval else "")


def _evidence(found: Paired) -> str:
    assert found.interval is not None
    low, high = found.interval
    return f"95 % interval [{signed(low)}, {signed(high)}], {found.n} paired seeds"
