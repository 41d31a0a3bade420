"""A split takes its share of each class."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.data.splitting import stratified


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=200), st.floats(0.01, 0.99), st.integers(0, 5))
def test_stratified_takes_the_share_of_each_class(listed: list[int], fraction: float, seed: int) -> None:
    labels = np.array(listed)
    rest, part = stratified(labels, fraction, seed)
    assert sorted([*rest, *part]) == list(range(len(labels)))
    assert list(rest) == sorted(rest)
    assert list(part) == sorted(part)
    for label, total in Counter(listed).items():
        taken = sum(labels[index] == label for index in part)
        assert taken == (0 if total == 1 else min(max(1, round(fraction * total)), total - 1))
    again = stratified(labels, fraction, seed)
    assert np.array_equal(again[0], rest)
    assert np.array_equal(again[1], part)
