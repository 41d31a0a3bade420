"""State 0 as a job of its own: trained once for the cells that wait for it, and made up for where that job ends badly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.slurm.conftest import Sweep, until


def section(run: Path, name: str) -> Any:
    return yaml.safe_load((run / "config.yaml").read_text())[name]


def stem_of(sweep: Sweep) -> str:
    """The job that trains the only shared state 0."""
    (note,) = until(lambda: list(sweep.directory.glob("outputs/demo/.dense/*/submission.json")), "the stem's job")
    return json.loads(note.read_text())["job_id"]


def test_each_stem_is_trained_once_and_its_cells_are_an_array_that_waits(sweep: Sweep) -> None:
    """Of two stems one fails: its cells then try for themselves, and say what went wrong."""
    code, output, errors = sweep.finish(sweep.launch("optim.lr=3e-3,1e30", "method=refill,dense", "method.rewind=init"))
    assert code == 1
    assert "2 of these take it over" in output
    assert "2 of 4 runs failed" in errors
    arrays: dict[str, list[Path]] = {}
    for run in sweep.runs():
        arrays.setdefault(sweep.job(run).partition("_")[0], []).append(run)
    fine, failed = sorted(arrays.values(), key=lambda runs: section(runs[0], "optim")["lr"])
    assert {sweep.status(run)["status"] for run in fine} == {"done"}
    origins = {run.name: sweep.status(run)["dense"] for run in fine}
    (trainer,) = [run for run in fine if origins[run.name] is None]
    assert [origin["run"] for origin in origins.values() if origin] == [trainer.name]
    assert len(sweep.status(trainer)["starts"]) == 2, "its state 0 was one job, the rest of it another"
    for run in failed:
        assert f"{run.name}: the training loss became" in errors
        assert sweep.status(run)["status"] == "failed"
    assert len(list(sweep.directory.glob("outputs/demo/.dense/*/dense.json"))) == 1

    # One more method, when that is done: it waits for nothing, and trains state 0 no more.
    code, _, errors = sweep.finish(sweep.launch("method=rsst"))
    assert code == 0, errors
    added = next(run for run in sweep.runs() if section(run, "method")["name"] == "rsst")
    assert sweep.status(added)["dense"]["run"] == trainer.name
    assert len(sweep.status(added)["starts"]) == 1


def test_what_a_cancelled_stem_leaves_undone_is_done_by_its_cells(sweep: Sweep) -> None:
    process = sweep.launch("method=refill,rsst", "schedule.epochs_first=150")
    stem = stem_of(sweep)
    training = until(lambda: [run for run in sweep.runs() if sweep.epochs(run)], "the first epoch")[0]
    sweep.cluster.run("scancel", stem)
    code, _, errors = sweep.finish(process)
    assert code == 0, errors
    assert {sweep.status(run)["status"] for run in sweep.runs()} == {"done"}
    assert sweep.epochs(training) == 154
    assert (training / "launch.log").read_text().count("resuming at state 0") <= 1
    assert list(sweep.directory.glob("outputs/demo/.dense/*/dense.json"))
