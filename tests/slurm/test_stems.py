"""State 0 as a job of its own: trained once for the cells that wait for it, and made up for where that job does not end well."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.slurm.conftest import Sweep, until


def section(run: Path, name: str) -> Any:
    return yaml.safe_load((run / "config.yaml").read_text())[name]


def stem_of(sweep: Sweep) -> str:
    """The job that trains the only shared state 0."""
    (note,) = until(lambda: list(sweep.directory.glob("outputs/demo/.dense/*/submission.json")), "the stem's job")
    return json.loads(note.read_text())["job_id"]


def test_each_stem_is_trained_once_and_its_cells_are_an_array_that_waits(sweep: Sweep) -> None:
    cells = ("dataset=digits,digit_pairs", "method=refill,rsst", "method.rewind=init")
    code, output, errors = sweep.finish(sweep.launch(*cells))
    assert code == 0, errors
    assert "2 of these take it over" in output
    arrays: dict[str, list[Path]] = {}
    for run in sweep.runs():
        arrays.setdefault(sweep.job(run).partition("_")[0], []).append(run)
    assert sorted(len(runs) for runs in arrays.values()) == [2, 2]
    for runs in arrays.values():
        assert len({section(run, "dataset")["name"] for run in runs}) == 1
        origins = [sweep.status(run)["dense"] for run in runs]
        (trainer,) = [run for run, origin in zip(runs, origins, strict=True) if origin is None]
        assert {origin["run"] for origin in origins if origin} == {trainer.name}
        first, second = sweep.status(trainer)["starts"]
        assert first["time"] <= second["time"], "its state 0 was one job, the rest of it another"
        log = (trainer / "launch.log").read_text()
        assert log.count("state 0 is there for all runs of this sweep") == 1
    # One more method, when all is done: nothing waits, and nothing is trained again.
    code, output, errors = sweep.finish(sweep.launch("dataset=digits", "method=dense"))
    assert code == 0, errors
    added = next(run for run in sweep.runs() if section(run, "method")["name"] == "dense")
    assert sweep.status(added)["dense"] is not None
    assert len(sweep.status(added)["starts"]) == 1


@pytest.mark.parametrize("how", ["scancel", "SIGKILL"])
def test_what_a_stem_leaves_undone_is_done_by_whichever_cell_comes_first(sweep: Sweep, how: str) -> None:
    process = sweep.launch("method=refill,rsst", "schedule.epochs_first=150")
    stem = stem_of(sweep)
    training = until(lambda: [run for run in sweep.runs() if sweep.epochs(run)], "the first epoch")[0]
    if how == "scancel":
        sweep.cluster.run("scancel", stem)
    else:
        os.kill(sweep.status(training)["pid"], signal.SIGKILL)
    code, _, errors = sweep.finish(process)
    assert code == 0, errors
    statuses = [sweep.status(run) for run in sweep.runs()]
    assert [status["status"] for status in statuses] == ["done", "done"]
    assert sum(status["dense"] is None for status in statuses) == 1, "it was trained once after all"


def test_a_stem_that_fails_leaves_each_cell_to_itself(sweep: Sweep) -> None:
    code, _, errors = sweep.finish(sweep.launch("method=refill,rsst", "optim.lr=1e30"))
    assert code == 1
    assert "2 of 2 runs failed" in errors
    assert errors.count("the training loss became") >= 2
    assert not list(sweep.directory.glob("outputs/demo/.dense/*/dense.json"))
