"""The rate of each state: which share of the units is gone by then. Pure functions, no torch."""

from __future__ import annotations

SHAPES = ("geometric", "linear", "cubic", "constant")


def rates(states: int, target: float, shape: str = "geometric") -> list[float]:
    """Rates p_0 … p_{S-1}: the fraction of units pruned, since the start, in each state.

    Args:
        states: S ≥ 2, state 0 (dense) included.
        target: the last state's rate, in [0, 1).
        shape: `geometric`: 1 - p_s = (1 - target)^(s/(S-1)), each state removes the same share of what is left;
            `linear`: p_s = target·s/(S-1);
            `cubic`: p_s = target·(1 - (1 - s/(S-1))³) (Zhu & Gupta 2017, arXiv 1710.01878, eq. 1);
            `constant`: p_s = target for every s ≥ 1 (what the reference program really ran).

    Returns:
        S floats, never decreasing, the first 0 and the last exactly `target`.
    """
    if states < 2:
        raise ValueError(f"states must be at least 2, not {states}")
    if shape not in SHAPES:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}, not {shape!r}")
    last = states - 1

    def rate(state: int) -> float:
        progress = state / last
        if shape == "geometric":
            return 1 - (1 - target) ** progress
        if shape == "linear":
            return target * progress
        if shape == "cubic":
            return target * (1 - (1 - progress) ** 3)
        return target

    # The ends are set, not computed, so that no rounding moves them.
    return [0.0, *(rate(state) for state in range(1, last)), target]


def number_kept(rate: float, units: int, fillback_rate: float = 0.0) -> int:
    """How many of `units` stay at `rate`: round((1 - p)·N), plus round(f·(N - kept)) of those that would go (Refill+)."""
    kept = round((1 - rate) * units)
    return kept + round(fillback_rate * (units - kept))
