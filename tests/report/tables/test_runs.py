"""The tables of runs: the time that they took."""

from __future__ import annotations

from pathlib import Path

from prune.base.files import read_json_object, write_json
from prune.report.tables import runs
from prune.rundir.directory import RunDirectory
from tests.report.handmade import analyse, long_run, rows


def test_time(tmp_path: Path) -> None:
    long_run(tmp_path)
    (row,) = rows(runs.time(analyse(tmp_path), "digits"))
    assert (row["per run"], row["per state"], row["per epoch"]) == ("36.0 s", "18.0 s", "1.5 s")
    assert (row["per epoch, state 0"], row["per epoch, last"], row["images/s"]) == ("2.0 s", "1.0 s (state 1)", "200")


def test_a_state_0_that_was_taken_over_is_counted_once(tmp_path: Path) -> None:
    long_run(tmp_path)
    note = below(tmp_path)
    assert note.endswith("The finished states of 1 run took 36.0 s.")
    long_run(tmp_path, "rsst")
    assert below(tmp_path).endswith("The finished states of 2 runs took 1.2 min together.")
    first, second = sorted(tmp_path.glob("digits-*"))
    status = RunDirectory(second).status
    write_json(status, read_json_object(status) | {"dense": {"run": first.name}})
    note = below(tmp_path)
    assert note.endswith("took 48.0 s together: 1 run took state 0 over from another; had each trained its own, 1.2 min.")
    findings = analyse(tmp_path)
    assert [row["per run"] for row in rows(runs.time(findings, "digits"))] == ["36.0 s", "36.0 s"]
    assert set(runs.completeness(findings).frame["state_0_of"]) == {first.name}


def below(sweep: Path) -> str:
    """What stands below the table of times."""
    table = runs.time(analyse(sweep), "digits")
    assert table is not None
    return table.note
