"""`prune status`: tables and JSON from files alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prune.cli import main
from prune.rundir.status import now
from prune.sweep import status_command
from prune.sweep import submission as submissions
from prune.sweep.slurm_queue import JobState
from tests.conftest import Compose
from tests.sweep.sweeps import submission, write_run

OLD = "2020-01-01T00:00:00+00:00"


@pytest.fixture
def sweep(compose: Compose) -> Path:
    """Six runs, one of each status."""
    configs = [
        compose("model=vit_micro", "dataset=digits", "schedule.states=3", "schedule.epochs=4", f"seed={n}") for n in range(6)
    ]
    write_run(configs[0], epochs=12, status="done")
    write_run(configs[1], epochs=5, status="running", node="n1", job_id="7_1")
    write_run(configs[2], epochs=5, status="running", heartbeat=OLD)
    write_run(configs[3], status="failed", error="optim.lr is too large.")
    submission(write_run(configs[4], status="queued"), job_id="7_4")
    submission(write_run(configs[5], epochs=4, status="preempted"), job_id="7_5")
    return Path(configs[0].outputs) / configs[0].name


def rows(sweep: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert main(["status", str(sweep), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_has_a_row_per_run(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(sweep, capsys)
    assert [row["status"] for row in found] == ["done", "running", "lost", "failed", "queued", "preempted"]
    running = found[1]
    assert (running["state"], running["epoch"], running["epochs_done"], running["epochs_total"]) == (1, 1, 5, 12)
    assert running["eta_seconds"] == 14.0
    assert (running["node"], running["job"], running["val_accuracy"]) == ("n1", "7_1", 54.0)
    assert "no heartbeat since 2020" in str(found[2]["error"])
    assert found[3]["error"] == "optim.lr is too large."
    assert found[4]["job"] == "7_4"
    assert [row["eta_seconds"] for row in found].count(None) == 5, "only what runs has an ETA"


def test_a_copied_folder_reads_the_same(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(sweep, copy)
    assert rows(copy, capsys) == rows(sweep, capsys)


def test_the_table_names_problems(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(sweep)]) == 0
    shown = capsys.readouterr().out
    assert "1 done, 1 running, 1 lost, 1 failed, 1 queued, 1 preempted" in shown
    assert "optim.lr is too large." in shown


def test_one_run_is_not_called_runs(compose: Compose, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(
        compose("model=vit_micro", "dataset=digits", "schedule.states=3", "schedule.epochs=4"), epochs=12, status="done"
    )
    main(["status", str(run.path.parent)])
    assert "1 run: 1 done" in capsys.readouterr().out


def test_where_there_is_slurm_it_tells_of_jobs(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {"7_4": JobState("PENDING", "", "Resources")}
    monkeypatch.setattr(submissions, "queue_states", lambda jobs: states)
    found = rows(sweep, capsys)
    assert found[4]["status"] == "queued (Resources)"
    assert (found[5]["status"], found[5]["error"]) == ("failed", "is no longer known to SLURM and left no result")
    states["7_5"] = JobState("CANCELLED")
    assert rows(sweep, capsys)[5]["error"] == "was cancelled"


def test_the_launchers_verdict_is_shown(sweep: Path, compose: Compose, capsys: pytest.CaptureFixture[str]) -> None:
    config = compose("model=vit_micro", "dataset=digits", "schedule.states=3", "schedule.epochs=4", "seed=9")
    submission(write_run(config, epochs=1, status="running", heartbeat=OLD), verdict="lost its node")
    assert [row["error"] for row in rows(sweep, capsys) if row["status"] == "failed"] == [
        "optim.lr is too large.",
        "lost its node",
    ]


def test_watching_ends_when_all_have(sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def everything_ends(_: float) -> None:
        for file in sweep.glob("*/status.json"):
            file.write_text(json.dumps({"status": "done", "heartbeat": now()}))

    monkeypatch.setattr(status_command.time, "sleep", everything_ends)
    assert main(["status", str(sweep), "--watch"]) == 0
    assert "6 done" in capsys.readouterr().out


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["status", str(tmp_path), "--json", "--watch"]) == 1


def test_it_imports_no_torch(sweep: Path) -> None:
    code = f"import sys; from prune.cli import main; main(['status', {str(sweep)!r}]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
