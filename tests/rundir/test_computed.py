"""What runs have computed together: a state 0 that some of them took over is counted once."""

from __future__ import annotations

from pathlib import Path

from prune.rundir.computed import computed
from prune.rundir.directory import RunDirectory
from prune.rundir.reader import RunRecord


def run(folder: Path, name: str, *seconds: float, state_0_of: str | None = None) -> RunRecord:
    """A run whose states took so long."""
    states = [{"state": state, "seconds": took} for state, took in enumerate(seconds)]
    dense = None if state_0_of is None else {"id": "0123abcd", "run": state_0_of}
    return RunRecord(RunDirectory(folder / name), {}, [], states, {"status": "done", "dense": dense})


def test_a_state_0_that_was_taken_over_counts_once(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, "first", 8.0, 1.0),
        run(tmp_path, "second", 8.0, 2.0, state_0_of="first"),
        run(tmp_path, "third", 8.0, state_0_of="first"),
        run(tmp_path, "other-seed", 16.0, 4.0),
        run(tmp_path, "took-its-own-over", 32.0, state_0_of="took-its-own-over"),
    ]
    found = computed(runs)
    assert (found.seconds, found.each_alone, found.taken_over) == (8 + 1 + 2 + 16 + 4 + 32, 24 + 3 + 20 + 32, 2)
    assert computed(reversed(runs)) == found
    alone = computed([runs[0], *runs[3:]])
    assert alone.seconds == alone.each_alone and alone.taken_over == 0


def test_it_counts_once_also_where_the_run_that_trained_it_is_not_among_them(tmp_path: Path) -> None:
    found = computed(run(tmp_path, name, 8.0, 1.0, state_0_of="removed") for name in ("a", "b"))
    assert (found.seconds, found.each_alone, found.taken_over) == (10.0, 18.0, 2)


def test_runs_of_the_same_name_in_two_sweeps_share_nothing(tmp_path: Path) -> None:
    runs = [run(tmp_path / sweep, name, 8.0, state_0_of="a") for sweep in ("one", "two") for name in ("a", "b")]
    assert computed(runs).seconds == 16.0
