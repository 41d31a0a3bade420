"""How many units each of several lists loses or keeps, where that follows from their weights alone. No torch."""

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


def spread(
    kept: int,
    sizes: Sequence[int],
    floor: int = 0,
    alive: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
) -> list[int]:
    """Spread `kept` units over blocks of `sizes` units, at least `floor` in each; ties to the first block.

    It never takes a unit from a block when one more is kept (see `in_turn`). With the usual weights, blocks of equal size get
    kept // B units each, and one more in the first kept mod B.

    Args:
        alive: units that each block still has (default: all). None is given more, so keep sets stay nested also where the
            floor has fallen since.
        weights: what each block loses is in proportion to these; default: the sizes.
    """
    left = list(sizes if alive is None else alive)
    gone = [size - units for size, units in zip(sizes, left, strict=True)]
    order = in_turn(sizes if weights is None else weights, gone, [max(0, units - floor) for units in left])
    return (np.array(left, dtype=int) - np.bincount(order[: sum(left) - kept], minlength=len(left))).tolist()
