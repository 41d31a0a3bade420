"""The tables of runs: the time that they took."""

from __future__ import annotations

from pathlib import Path

from prune.report.tables import runs
from tests.report.handmade import analyse, long_run, rows


def test_time(tmp_path: Path) -> None:
    long_run(tmp_path)
    (row,) = rows(runs.time(analyse(tmp_path), "digits"))
    assert (row["per run"], row["per state"], row["per epoch"]) == ("36.0 s", "18.0 s", "1.5 s")
    assert (row["per epoch, state 0"], row["per epoch, last"], row["images/s"]) == ("2.0 s", "1.0 s (state 1)", "200")
