"""Several lists that lose units in turn, in proportion to their weights. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def in_turn(weights: Sequence[float], gone: Sequence[int], available: Sequence[int]) -> np.ndarray:
    """Several lists (of a kind's blocks, or of all kinds) lose one unit after another, in proportion to their weights.

    The k-th unit that list i loses, k = 1, 2, … counted from the start of the run, goes at (k - ½)/weights[i]: highest averages
    with the divisors 1, 3, 5, … (Sainte-Laguë 1910). Of equals the last list loses first. Every beginning of the order is in
    proportion, and a longer one only adds to it, so keep sets that follow it are nested.

    Args:
        weights: what a list loses is in proportion to it; one of 0 loses nothing.
        gone: units that each list has lost already.
        available: units that it may still lose.

    Returns:
        int64: the number of the list that loses its next unit, turn by turn, until all have lost what they may.
    """
    lists = np.repeat(np.arange(len(weights)), [n if weight > 0 else 0 for n, weight in zip(available, weights, strict=True)])
    if not len(lists):
        return lists
    first = np.searchsorted(lists, lists)
    nth = np.arange(len(lists)) - first + np.asarray(gone)[lists]
    return lists[np.lexsort((-lists, (nth + 0.5) / np.asarray(weights, dtype=float)[lists]))]
