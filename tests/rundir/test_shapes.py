"""What each check of a file's values accepts, at its bounds, and what a misfit is called."""

from __future__ import annotations

import math

import pytest

from prune.rundir import shapes
from prune.rundir.shapes import Check, maybe, misfit

CASES: list[tuple[Check, list[object], list[object]]] = [
    (shapes.whole, [0, 2**63 - 1], [-1, 2**63, True, 1.0, "1", None]),
    (shapes.number, [0, -1.5, 2**70], [math.nan, math.inf, -math.inf, 10**400, False, "1", None]),
    (shapes.text, ["", "a"], [None, 1, b"a"]),
    (
        shapes.moment,
        ["2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05.678901+02:00"],
        ["2026-01-02T03:04:05", "yesterday", "", 1767323045, None],
    ),
    (shapes.counts, [{}, {"heads": 0, "neurons": 7}], [{"heads": -1}, {"heads": 1.5}, {"heads": True}, [1], None]),
    (shapes.rates, [{}, {"heads": 0, "neurons": 0.999}], [{"heads": 1}, {"heads": -0.1}, {"heads": math.nan}, [0.5], None]),
    (shapes.objects, [[], [{}, {"a": 1}]], [[{}, 1], {}, None]),
    (maybe(shapes.text), [None, "a"], [1, []]),
    (shapes.STATUS["status"], ["queued", "running", "done", "failed", "preempted"], ["lost", "", None, ["done"]]),
    (shapes.CONFIG["schedule.states"], [1, 999_999], [0, 1_000_000, 2.0, None]),
]


@pytest.mark.parametrize(("check", "good", "bad"), CASES)
def test_each_check_at_its_bounds(check: Check, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if check(value) is not True] == []
    assert [value for value in bad if check(value) is not False] == []


SHAPE: dict[str, Check] = {"seed": shapes.whole, "a.b": shapes.text, "a.c?": shapes.text, "last?": maybe(shapes.whole)}


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"seed": 1, "a": {"b": "x"}}, None),
        ({"seed": 1, "a": {"b": "x", "c": "y"}, "last": None, "more": [1]}, None),
        ([], "it is no JSON object"),
        (None, "it is no JSON object"),
        ({"a": {"b": "x"}}, "seed is missing"),
        ({"seed": None, "a": {"b": "x"}}, "seed is not what it should be"),
        ({"seed": 1}, "a.b is missing"),
        ({"seed": 1, "a": {}}, "a.b is missing"),
        ({"seed": 1, "a": ["b"]}, "a.b cannot be in it"),
        ({"seed": 1, "a": {"b": 2}}, "a.b is not what it should be"),
        ({"seed": 1, "a": {"b": "x", "c": None}}, "a.c is not what it should be"),
        ({"seed": 1, "a": {"b": "x"}, "last": "x"}, "last is not what it should be"),
        ({"seed": -1, "a": 1}, "seed is not what it should be"),  # the first in the shape's order
    ],
)
def test_the_first_misfit_is_named(value: object, what: str | None) -> None:
    assert misfit(value, SHAPE) == what
