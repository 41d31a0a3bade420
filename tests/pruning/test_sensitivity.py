"""Curves of sensitivity → order of removals, against naive loops."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.architectures.group import Measure, Structure
from prune.pruning.sensitivity import Curve, by_loss, lower_hull, points
from tests.pruning.naive import STRUCTURES, made_up

many = settings(derandomize=True, max_examples=150, deadline=None)


def lowest_line(x: Sequence[float], y: Sequence[float], at: float) -> float:
    """The lower convex hull at one place: the lowest of all chords above it."""
    chords = [
        y[i] + (y[j] - y[i]) * (at - x[i]) / (x[j] - x[i]) for i, j in combinations(range(len(x)), 2) if x[i] <= at <= x[j]
    ]
    return min(chords)


@many
@given(st.lists(st.integers(-6, 6), min_size=2, max_size=7), st.data())
def test_the_hull_is_the_lowest_of_all_chords(y: list[int], data: st.DataObject) -> None:
    x = sorted(data.draw(st.lists(st.integers(0, 30), min_size=len(y), max_size=len(y), unique=True)))
    hull = lower_hull(x, y)
    assert (hull[0], hull[-1]) == (0, len(x) - 1)
    for at in range(x[0], x[-1] + 1):
        assert np.interp(at, [x[i] for i in hull], [y[i] for i in hull]) == pytest.approx(lowest_line(x, y, at))


@pytest.mark.parametrize(
    ("removable", "silenced"),
    [(0, []), (1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (5, [1, 2, 4, 5]), (6, [2, 3, 4, 6]), (191, [48, 96, 143, 191])],
)
def test_points(removable: int, silenced: list[int]) -> None:
    """At least one unit a point; equal points once. (Halves go to the even number, as Python rounds.)"""
    assert points(removable) == silenced


def naive_order(curves: dict[str, Curve], structure: Structure, measure: Measure) -> list[int]:
    """One removal after another: of the next ones of all groups the one that adds least loss per unit of the measure."""
    gone = dict.fromkeys(curves, 0)
    order = []
    while any(gone[name] < curve.units[-1] for name, curve in curves.items()):
        candidates = []
        for number, group in enumerate(structure.groups):
            curve = curves.get(group.name)
            if curve is None or gone[group.name] == curve.units[-1]:
                continue
            at = gone[group.name]
            added = lowest_line(curve.units, curve.loss, at + 1) - lowest_line(curve.units, curve.loss, at)
            price = {"units": 1, "parameters": sum(m.size for m in group.members), "macs": group.macs}[measure]
            candidates.append((round(added / price, 9), -structure.kinds.index(group.kind), -number))
        number = -min(candidates)[2]
        gone[structure.groups[number].name] += 1
        order.append(number)
    return order


@many
@given(st.sampled_from(sorted(STRUCTURES)), st.sampled_from(["units", "parameters", "macs"]), st.integers(0, 999))
def test_the_order_is_the_naive_one(which: str, measure: Measure, seed: int) -> None:
    structure, draw = STRUCTURES[which], random.Random(seed)
    curves = {}
    for group in structure.groups:
        removable = draw.randint(0, min(group.count, 12))
        if removable:
            places = (0, *points(removable))
            curves[group.name] = Curve(places, tuple(float(draw.randint(0, 40)) for _ in places))
    order = by_loss(curves, structure, measure)
    expected = naive_order(curves, structure, measure)
    # Equal slopes that rounding sets apart may trade places: what each costs must agree, and where costs differ who goes.
    assert np.bincount(order, minlength=1).tolist() == np.bincount(np.array(expected, dtype=int), minlength=1).tolist()
    if measure == "units":
        assert order.tolist() == expected


def test_of_equal_slopes_the_later_group_goes_first() -> None:
    structure = made_up((0, "heads", 2, 10), (0, "neurons", 2, 10), (1, "heads", 2, 10), (1, "neurons", 2, 10))
    flat = {group.name: Curve((0, 1, 2), (1.0, 1.0, 1.0)) for group in structure.groups}
    assert by_loss(flat, structure, "units").tolist() == [3, 3, 1, 1, 2, 2, 0, 0]


def test_a_bump_is_passed_over_as_a_whole() -> None:
    """Two units cost 4, all four nothing: on the hull each costs nothing, and they go before what costs 1."""
    structure = made_up((0, "neurons", 4, 1), (1, "neurons", 4, 1))
    curves = {"0.neurons": Curve((0, 2, 4), (1.0, 5.0, 1.0)), "1.neurons": Curve((0, 2, 4), (1.0, 1.0, 3.0))}
    assert by_loss(curves, structure, "units").tolist() == [1, 1, 0, 0, 0, 0, 1, 1]


def test_a_curve_is_read_back() -> None:
    curve = Curve((0, 3, 7), (0.5, 0.75, 2.0))
    assert Curve.from_json(curve.to_json()) == curve
