"""How units are spread over blocks, against handing out one seat after another."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pruning.naive import spread

many = settings(derandomize=True, max_examples=150, deadline=None)


@st.composite
def problems(draw: st.DrawFn) -> tuple[int, list[int], int]:
    """(kept, sizes, floor) that fit together."""
    sizes = draw(st.lists(st.integers(1, 60), min_size=1, max_size=8))
    floor = draw(st.integers(0, min(sizes)))
    return draw(st.integers(floor * len(sizes), sum(sizes))), sizes, floor


def seat_by_seat(kept: int, sizes: list[int], floor: int) -> list[int]:
    """Sainte-Laguë in exact fractions: the next seat goes to the largest size / (2·seats + 1), the first among equals."""
    seats = [floor] * len(sizes)
    while sum(seats) < kept:
        open_blocks = [block for block, size in enumerate(sizes) if seats[block] < size]
        best = max(open_blocks, key=lambda block: (Fraction(sizes[block], 2 * seats[block] + 1), -block))
        seats[best] += 1
    return seats


@many
@given(problems())
def test_spread_is_the_seat_by_seat_method(problem: tuple[int, list[int], int]) -> None:
    assert spread(*problem) == seat_by_seat(*problem)


@many
@given(problems())
def test_all_are_spread_within_the_blocks(problem: tuple[int, list[int], int]) -> None:
    kept, sizes, floor = problem
    found = spread(kept, sizes, floor)
    assert sum(found) == kept
    assert all(floor <= quota <= size for quota, size in zip(found, sizes, strict=True))


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.data())
def test_one_more_takes_from_no_block(sizes: list[int], data: st.DataObject) -> None:
    """Monotone in the number kept: the quotas of later states are within those of earlier ones."""
    floor = data.draw(st.integers(0, min(sizes)))
    before = spread(floor * len(sizes), sizes, floor)
    for kept in range(floor * len(sizes) + 1, sum(sizes) + 1):
        after = spread(kept, sizes, floor)
        assert sorted(new - old for new, old in zip(after, before, strict=True)) == [0] * (len(sizes) - 1) + [1]
        before = after


@many
@given(st.integers(1, 12), st.integers(1, 200), st.data())
def test_equal_blocks_get_equal_shares_and_the_first_one_more(blocks: int, size: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, blocks * size))
    floor = data.draw(st.integers(0, kept // blocks))
    assert spread(kept, [size] * blocks, floor) == [kept // blocks + (block < kept % blocks) for block in range(blocks)]


@pytest.mark.parametrize(
    ("kept", "sizes", "floor", "expected"),
    [
        (5, [10, 20, 20], 0, [1, 2, 2]),
        (25, [10, 20, 20], 0, [5, 10, 10]),
        (0, [3, 4], 0, [0, 0]),
        (7, [3, 4], 0, [3, 4]),
        (3, [100, 2, 2], 1, [1, 1, 1]),  # the floors come before any share
        (10, [100, 2, 2], 1, [8, 1, 1]),
        (1, [2, 6], 0, [0, 1]),
        (2, [2, 6], 0, [1, 1]),  # 2/1 = 6/3: the first block
        (3, [2, 6], 0, [1, 2]),
        (4, [7], 0, [4]),
        (0, [], 0, []),
    ],
)
def test_cases_worked_out_by_hand(kept: int, sizes: list[int], floor: int, expected: list[int]) -> None:
    assert spread(kept, sizes, floor) == expected


def test_the_neurons_of_a_swin_tiny() -> None:
    """Wide blocks, eight times as wide at the end: shares to the nearest neuron, or next to it."""
    sizes = [384] * 2 + [768] * 2 + [1536] * 6 + [3072] * 2
    kept = round(0.3 * sum(sizes))
    found = spread(kept, sizes, 1)
    assert sum(found) == kept
    assert all(abs(quota - 0.3 * size) < 1 for quota, size in zip(found, sizes, strict=True))


def test_no_block_is_given_more_than_it_still_has() -> None:
    """Three units with a floor of one each; two are too few for a floor, and the large block cannot take both."""
    sizes = [10, 1, 1]
    assert spread(3, sizes, floor=1) == [1, 1, 1]
    assert spread(2, sizes) == [2, 0, 0]
    assert spread(2, sizes, alive=[1, 1, 1]) == [1, 1, 0]
