"""What share is gone, as counted, and what the schedule asked for, kind by kind."""

from __future__ import annotations

from pathlib import Path

from prune.report.findings import Findings
from prune.report.load import load
from prune.report.pruned import by_kind, scheduled
from tests.report.sweep import configuration, state_line, structure_of, write_run


def shares(tmp_path: Path, kept: dict[str, int], rates: dict[str, float], measure: str = "units") -> tuple[str, str]:
    """The two texts of a state that keeps so many units of each block, where the schedule gave the kinds these rates."""
    config = configuration(method="refill", schedule__states=2, schedule__measure=measure)
    counts = {name: kept["neurons" if name.endswith("mlp") else "heads"] for name in structure_of(config).dense}
    lines = [state_line(config, 0, 80.0), state_line(config, 1, 80.0, counts, rates=rates)]
    write_run(tmp_path, config, lines)
    findings = Findings(load([tmp_path], "dense"), "dense")
    (variant,) = findings.study.variants
    return by_kind(findings, variant, 1), scheduled(findings, variant, 1)


def test_a_target_for_each_kind_is_no_departure_from_the_schedule(tmp_path: Path) -> None:
    found = shares(tmp_path, {"heads": 3, "neurons": 96}, {"heads": 0.0, "neurons": 0.5})
    assert found == ("heads 0.0, neurons 50.0", "heads 0.0, neurons 50.0")


def test_a_departure_stands_beside_what_was_asked(tmp_path: Path) -> None:
    found = shares(tmp_path, {"heads": 3, "neurons": 96}, {"heads": 0.5, "neurons": 0.5})
    assert found == ("heads 0.0, neurons 50.0 (scheduled 50.0)", "50.0")


def test_a_rate_of_the_whole_model_says_of_what(tmp_path: Path) -> None:
    """Four blocks of three heads and 192 neurons."""
    config = configuration(method="refill")
    structure = structure_of(config)
    counts = {name: 144 if name.endswith("mlp") else 3 for name in structure.dense}
    parameters = f"{100 * (1 - structure.parameters(counts) / structure.parameters()):.1f}"
    macs = f"{100 * (1 - structure.macs(counts) / structure.macs()):.1f}"
    for measure, gone, word in (("parameters", parameters, "parameters"), ("macs", macs, "MACs")):
        found = shares(tmp_path / measure, {"heads": 3, "neurons": 144}, {}, measure)
        assert found == (f"heads 0.0, neurons 25.0 ({gone} % of {word}, scheduled 70.0 % of {word})", f"70.0 % of {word}")
