"""The tables of pruning: drop, recovery, removal, penalties and what survives, by hand."""

from __future__ import annotations

from pathlib import Path

from prune.report.tables import pruning
from tests.report.handmade import analyse, long_run, rows
from tests.report.sweep import configuration, state_line, structure_of, write_run


def test_drop_recovery_and_removal(tmp_path: Path) -> None:
    long_run(tmp_path, "rsst")
    findings = analyse(tmp_path)
    (row,) = rows(pruning.recovery(findings, "digits"))
    found = (row["before (state − 1, final)"], row["right after pruning"], row["drop"], row["recovery"], row["net"])
    assert found == ("71.00", "40.00", "-31.00".replace("-", "−"), "+30.00", "−1.00")
    assert row["after epoch 0"] == "90.00"
    (row,) = rows(pruning.removal(findings, "digits"))
    found = (row["before removal"], row["after removal"], row["change"], row["norm left (%)"])
    assert found == ("69.00", "68.75", "−0.25", "0.4")
    (row,) = rows(pruning.penalties(findings, "digits"))
    assert (row["λ, first epoch"], row["λ, largest"], row["penalised epochs"]) == ("0.1", "0.6", "0–5")


def test_survival_per_block(tmp_path: Path) -> None:
    config = configuration(schedule__states=2)
    dense = {name: list(range(units)) for name, units in structure_of(config).dense.items()}
    heads, neurons = [[0], [1], [0, 2], []], [100, 90, 30, 10]
    pruned = {f"blocks.{block}.attn": kept for block, kept in enumerate(heads)}
    pruned |= {f"blocks.{block}.mlp": list(range(kept)) for block, kept in enumerate(neurons)}
    write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(2)], kept={0: dense, 1: pruned})
    found = rows(pruning.per_block(analyse(tmp_path), "digits"))
    assert [row["heads kept"] for row in found] == ["1.0 of 3", "1.0 of 3", "2.0 of 3", "0.0 of 3"]
    assert [row["neurons kept"] for row in found] == ["100.0 of 192", "90.0 of 192", "30.0 of 192", "10.0 of 192"]
