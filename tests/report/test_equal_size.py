"""Values between states, and the sizes at which models are compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.report.equal_size import MOST_SIZES, Place, common_sizes, heading, place

SIZES = st.lists(st.integers(1_000, 100_000_000), min_size=1, max_size=8, unique=True).map(lambda sizes: sorted(sizes)[::-1])


@settings(deadline=None)
@given(SIZES, st.data())
def test_a_value_between_states_is_the_straight_lines(sizes: list[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(0, 100), min_size=len(sizes), max_size=len(sizes)))
    size = data.draw(st.one_of(st.sampled_from(sizes), st.integers(sizes[-1] // 2, 2 * sizes[0])))
    found = place(dict(enumerate(sizes)), size)
    if not sizes[-1] <= size <= sizes[0]:
        assert found is None  # never beyond what was trained
        return
    assert found is not None
    # np.interp wants ascending sizes.
    assert found.read(dict(enumerate(values))) == pytest.approx(np.interp(size, sizes[::-1], values[::-1]), abs=1e-9)
    first, second = found.states
    assert sizes[first] >= size >= sizes[second]
    assert second - first <= 1


def test_states_of_one_size_are_read_at_the_last_and_missing_ones_are_bridged() -> None:
    sizes = {0: 100.0, 1: 40.0, 2: 40.0, 5: 20.0}
    assert place(sizes, 40.0) == Place((2, 2), 0.0)
    assert place(sizes, 30.0) == Place((2, 5), 0.5)
    assert place(sizes, 85.0) == Place((0, 1), 0.25)
    assert place({}, 30.0) is None
    assert Place((2, 5), 0.5).read({2: 80.0}) is None


SPANS = st.lists(
    st.lists(st.tuples(st.integers(500, 10**9), st.floats(1, 6)), min_size=1, max_size=2), min_size=1, max_size=4
).map(lambda models: [[(float(low), low * factor) for low, factor in spans] for spans in models])


def reached(models: list[list[tuple[float, float]]], size: float) -> int:
    return len([spans for spans in models if [low for low, high in spans if low <= size <= high]])


@settings(deadline=None)
@given(SPANS)
def test_sizes_are_reached_by_two_models_and_one_by_most(models: list[list[tuple[float, float]]]) -> None:
    found = common_sizes(models)
    assert found == sorted(set(found))
    assert len(found) <= MOST_SIZES
    assert all(reached(models, size) > 1 for size in found)
    ends = [end for spans in models for span in spans for end in span]
    shared = max(reached(models, end) for end in ends)  # where most overlap, some span begins
    assert bool(found) == (shared > 1)
    two_digits = [d * 10.0**e for e in range(1, 9) for d in (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)]
    most = max((reached(models, size) for size in two_digits), default=0)
    if most > 1:
        assert set(found) <= set(two_digits)
        assert max(reached(models, size) for size in found) == most


def test_where_no_round_size_is_shared_the_geometric_middle_is() -> None:
    assert common_sizes([[(31.0, 39.0)], [(33.0, 35.0)]]) == [pytest.approx(math.sqrt(33 * 35))]
    assert common_sizes([[(31.0, 33.0)], [(33.0, 38.0)]]) == [33.0]
    assert common_sizes([[(31.0, 32.0)], [(33.0, 35.0)]]) == []
    assert common_sizes([]) == []


def test_headings_have_no_more_digits_than_the_size() -> None:
    assert heading(60_000.0, "parameters") == "60 k parameters"
    assert heading(1.2e9, "macs") == "1.2 G MACs"
