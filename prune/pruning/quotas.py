"""How many units of a kind each block keeps, where that is fixed by the blocks' sizes alone. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def spread(kept: int, sizes: Sequence[int], floor: int = 0, alive: Sequence[int] | None = None) -> list[int]:
    """Spread `kept` units over blocks of `sizes` units in proportion, at least `floor` in each.

    Highest averages with the divisors 1, 3, 5, … (Sainte-Laguë 1910), the floors first, ties to the first block. Unlike
    rounding it never takes a unit from a block when one more is kept. Blocks of equal size get kept // B units each, and one
    more in the first kept mod B.

    Args:
        alive: units that each block still has (default: all). None is given more, so keep sets stay nested also where the
            floor has fallen since.
    """
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    nth = np.concatenate([np.arange(size) for size in sizes]) if len(sizes) else np.arange(0)
    claims = np.where(nth < floor, np.inf, np.asarray(sizes)[blocks] / (2 * nth + 1))
    claims[nth >= np.asarray(sizes if alive is None else alive)[blocks]] = -np.inf
    first = np.argsort(-claims, kind="stable")[:kept]
    return np.bincount(blocks[first], minlength=len(sizes)).tolist()
