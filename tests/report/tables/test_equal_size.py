"""The table that compares models at equal size, against lines drawn by numpy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from prune.report.tables.equal_size import at_equal_size
from prune.report.terminal import equal_size
from tests.report.handmade import analyse, line, rows
from tests.report.sweep import configuration, state_line, write_flat, write_run

ACCURACIES = {0: [80.0, 79.0, 81.0, 60.0], 1: [82.0, 78.0, 80.0, 64.0]}
SMALL: dict[str, Any] = {"model__depth": 3}
"""Three blocks where the other model has four."""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two models by two methods, two seeds each; and a dense run."""
    write_flat(tmp_path, "refill", ACCURACIES)
    write_flat(tmp_path, "refill", {seed: [v - 5 for v in values] for seed, values in ACCURACIES.items()}, **SMALL)
    write_flat(tmp_path, "rsst", ACCURACIES, **SMALL)
    write_flat(tmp_path, "dense", ACCURACIES)
    return tmp_path


@pytest.mark.parametrize("measure", ["parameters", "macs"])
def test_accuracies_are_read_off_each_seeds_line(sweep: Path, measure: str) -> None:
    table = at_equal_size(analyse(sweep), "digits")
    assert table is not None
    here = table.frame[table.frame["measure"] == measure]
    sizes = sorted(set(here["size"]))
    assert 1 < len(sizes) <= 4
    for variant, depth, less in (("refill · model.depth=4", 4, 0), ("refill · model.depth=3", 3, 5)):
        config = configuration(schedule__states=4, model__depth=depth)
        counted = [state_line(config, state, 0.0)[measure] for state in range(4)]
        for size in sizes:
            found = line(table, variant=variant, measure=measure, size=size)
            if not counted[-1] <= size <= counted[0]:
                assert found["test_accuracy_best_n"] == 0
                continue
            read = [np.interp(size, counted[::-1], values[::-1]) - less for values in ACCURACIES.values()]
            assert found["test_accuracy_best_mean"] == pytest.approx(np.mean(read))
            assert found["test_accuracy_best_std"] == pytest.approx(np.std(read, ddof=1))
            assert found[f"{measure}_mean"] == pytest.approx(size)
            larger = max(state for state in range(4) if counted[state] >= size)
            assert found["states"] == (str(larger) if counted[larger] == size else f"{larger}–{larger + 1}")


def test_what_was_trained_for_the_numbers_is_said(sweep: Path) -> None:
    table = at_equal_size(analyse(sweep), "digits")
    found = {row["method"]: row for row in rows(table)}
    assert list(found) == ["refill · model.depth=3", "refill · model.depth=4", "rsst"]  # dense has one size, and no round one
    sizes = [column for column in found["rsst"] if column.endswith(("parameters", "MACs"))]
    assert all(" ± " in row[size] for row in found.values() for size in sizes)
    # Refill rewinds: two epochs in every state. RSST goes on: two more with every state.
    assert found["refill · model.depth=3"]["epochs since rewind"] == "2"
    assert found["rsst"]["epochs since rewind"] == "2–8"
    assert table is not None
    assert "read off the straight line" in table.note
    assert "Beyond a run's largest and smallest state nothing is read off" in table.note


def test_a_model_that_has_no_such_size_has_a_dash(tmp_path: Path) -> None:
    for depth in (10, 4, 2):
        write_flat(tmp_path, "refill", ACCURACIES, model__depth=depth)
    found = {row["method"].split("=")[1]: row for row in rows(at_equal_size(analyse(tmp_path), "digits"))}
    sizes = [column for column in found["4"] if column.endswith("parameters")]
    assert found["10"][sizes[0]] == found["2"][sizes[-1]] == "–"  # the smallest number of parameters, and the largest
    assert "–" not in found["4"].values()


def test_a_seed_that_has_not_come_as_far_is_not_counted(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", ACCURACIES, **SMALL)
    write_flat(tmp_path, "refill", {0: ACCURACIES[0]})
    config = configuration(seed=1, schedule__states=4)
    write_run(tmp_path, config, [state_line(config, 0, 80.0), state_line(config, 1, 80.0)])
    table = at_equal_size(analyse(tmp_path), "digits")
    assert table is not None
    row = next(row for row in rows(table) if row["method"] == "refill · model.depth=4")
    assert any(cell.endswith("(n = 1)") for cell in row.values())


def test_methods_of_one_model_that_are_equal_in_every_state_need_no_such_table(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", ACCURACIES)
    write_flat(tmp_path, "rsst", ACCURACIES)
    assert at_equal_size(analyse(tmp_path), "digits") is None


def test_configurations_of_one_model_that_differ_in_size_are_compared(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", ACCURACIES)
    write_flat(tmp_path, "refill", ACCURACIES, schedule__target=0.5)
    table = at_equal_size(analyse(tmp_path), "digits")
    assert [row["method"] for row in rows(table)] == ["refill · schedule.target=0.5", "refill · schedule.target=0.7"]


def test_an_anomalous_accuracy_is_marked(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 80.0, 60.0, *[80.0] * 7]})
    write_flat(tmp_path, "refill", {0: [80.0] * 10}, **SMALL)
    marked = [row["method"] for row in rows(at_equal_size(analyse(tmp_path), "digits")) if "†" in "".join(row.values())]
    assert marked == ["refill · model.depth=4"]


def test_the_terminal_has_room_for_it(sweep: Path) -> None:
    table = at_equal_size(analyse(sweep), "digits")
    assert table is not None
    text = io.StringIO()
    Console(file=text, width=80).print(equal_size(table))
    shown = text.getvalue()
    assert "digits: test accuracy (%) at equal size" in shown
    assert "params" in shown
    assert "…" not in shown
    for row in table.frame.itertuples():
        if row.test_accuracy_best_n:
            assert f"{row.test_accuracy_best_mean:.2f}" in shown
