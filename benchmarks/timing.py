"""Fair timing on a machine that does other things as well: warm-up, calls that take turns, medians of paired ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Times = dict[str, list[float]]


def clock(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def take_turns(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 1,
    timer: Callable[[Callable[[], object]], float] = clock,
) -> Times:
    """Time every call once a round, for `rounds` rounds after `warmup` untimed ones.

    Every other round runs backwards, so that a clock that rises or falls affects all calls alike. Entry i of each list is of
    round i: ratios of the same round are taken close together.

    Args:
        timer: measures one call; the default is the wall clock.
    """
    times: Times = {name: [] for name in calls}
    order = list(calls)
    for number in range(warmup + rounds):
        for name in order:
            seconds = timer(calls[name])
            if number >= warmup:
                times[name].append(seconds)
        order.reverse()
    return times


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
