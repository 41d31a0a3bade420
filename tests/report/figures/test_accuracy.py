"""Where the points of the accuracy figures lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prune.report.columns import kept_column
from prune.report.figures.accuracy import by_rate
from prune.report.figures.style import Style
from prune.report.findings import Findings
from prune.report.load import load
from prune.report.pruned import counted_alike
from tests.report.sweep import configuration, state_line, structure_of, write_flat, write_run

STATES = 3


def _plot(sweep: Path) -> Any:
    findings = Findings(load([sweep], "dense"), "dense")
    return by_rate(findings, Style(findings.study), "digits")


def _places(canvas: Any) -> dict[str, list[float]]:
    """Label of a line → its x values."""
    lines = canvas.figure.axes[0].get_lines()
    return {line.get_label(): list(line.get_xdata()) for line in lines if not line.get_label().startswith("_")}


def _dense(sweep: Path) -> None:
    write_flat(sweep, "dense", {0: [80.0, 81.0, 82.0]})


@pytest.mark.usefixtures("kept")
def test_with_a_fillback_rate_the_axis_shows_what_is_gone(tmp_path: Path) -> None:
    """Half of the units to go stay: of 768 neurons 96 and 192, of 12 heads 2 and 3, not the schedule's 45 and 70 %."""
    config = configuration(schedule__states=STATES)
    config["method"]["fillback_rate"] = 0.5
    gone = [(0, 0), (96, 2), (192, 3)]
    lines = []
    for state, (neurons, heads) in enumerate(gone):
        per_block = [heads // 4 + (block < heads % 4) for block in range(4)]
        units = {name: n - neurons // 4 if name.endswith("mlp") else n for name, n in structure_of(config).dense.items()}
        names = [name for name in units if not name.endswith("mlp")]
        units |= {name: units[name] - fewer for name, fewer in zip(names, per_block, strict=True)}
        lines.append(state_line(config, state, 80.0, units))
    write_run(tmp_path, config, lines)
    _dense(tmp_path)
    canvas = _plot(tmp_path)
    assert canvas.figure.axes[0].get_xlabel() == "units of each kind pruned (%)"
    assert _places(canvas) == {name: pytest.approx([0, 12.5, 25]) for name in ("refill (1 run)", "dense (1 run)")}
    assert "Counted: neurons that are gone; of heads as many are" in canvas.caption


@pytest.mark.usefixtures("kept")
def test_with_one_kind_pruned_the_axis_shows_parameters_and_says_so(tmp_path: Path) -> None:
    config = configuration(schedule__states=STATES)
    config["method"]["targets"] = ["neurons"]
    structure = structure_of(config)
    kept = [192, 96, 64]
    lines = [
        state_line(config, s, 80.0, {name: n if name.endswith("mlp") else units for name, units in structure.dense.items()})
        for s, n in enumerate(kept)
    ]
    write_run(tmp_path, config, lines)
    _dense(tmp_path)
    canvas = _plot(tmp_path)
    assert canvas.figure.axes[0].get_xlabel() == "all parameters pruned (%)"
    # A neuron of a block 48 wide: 48 weights and a bias before it, 48 weights after it.
    expected = [100 * 4 * (192 - n) * 97 / structure.parameters() for n in kept]
    assert _places(canvas) == {name: pytest.approx(expected) for name in ("refill (1 run)", "dense (1 run)")}
    assert "not every kind of unit is pruned by the same fraction" in canvas.caption


@pytest.mark.usefixtures("kept")
def test_what_prunes_nothing_is_drawn_only_where_the_others_agree(tmp_path: Path) -> None:
    _dense(tmp_path)
    write_flat(tmp_path, "refill", {0: [80.0, 81.0, 82.0]})
    assert set(_places(_plot(tmp_path))) == {"dense (1 run)", "refill (1 run)"}
    write_flat(tmp_path, "rsst", {0: [80.0, 81.0, 82.0]}, schedule__target=0.5)
    canvas = _plot(tmp_path)
    places = _places(canvas)
    assert set(places) == {"refill (1 run)", "rsst (1 run)"}
    assert places["rsst (1 run)"][-1] == pytest.approx(50, abs=0.1)
    assert "What prunes nothing" not in canvas.caption


def test_kinds_agree_to_within_one_unit(tmp_path: Path) -> None:
    for heads, alike in ((3, "neurons"), (4, "neurons"), (5, None)):  # of 12, where 230 of 768 neurons are 3.6
        config = configuration(schedule__states=2)
        units = state_line(config, 1, 81.0)["groups"]
        names = [name for name in units if not name.endswith("mlp")]
        units |= {name: heads // 4 + (block < heads % 4) for block, name in enumerate(names)}
        sweep = tmp_path / str(heads)
        write_run(sweep, config, [state_line(config, 0, 80.0), state_line(config, 1, 81.0, units)])
        study = load([sweep], "dense")
        assert study.states[kept_column("heads")].tolist() == [12, heads]
        assert counted_alike(study.variants) == alike
