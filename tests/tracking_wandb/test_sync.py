"""`wandb-sync`: runs on disk replayed into W&B, exactly once."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prune.cli import main
from prune.engine.tracker import make_tracker
from prune.rundir.directory import RunDirectory
from prune.tracking_wandb import sync_command
from prune.tracking_wandb.credentials import without_key
from prune.tracking_wandb.offline_log import last_step, log_files
from tests.tracking_wandb.runs import ALL_STEPS, KEY, STATES, make_config, make_directory, run_id, set_status, train, write_run
from tests.tracking_wandb.server import WandbServer

pytest_plugins = ["tests.tracking_wandb.fixtures"]
pytestmark = pytest.mark.usefixtures("wandb_environment")


def sync(directory: RunDirectory, *options: str) -> int:
    return main(["wandb-sync", str(directory.path.parent), *options])


@pytest.fixture
def done(tmp_path: Path) -> RunDirectory:
    """A finished run that logged nothing to W&B."""
    directory = make_directory(tmp_path, make_config(logger__name="none"))
    write_run(directory)
    return directory


def test_twice_is_once(done: RunDirectory, server: WandbServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync(done) == 0
    assert server.steps(run_id(done)) == ALL_STEPS
    assert server.exits[run_id(done)] == [0]
    assert server.summary[run_id(done)]["state_02"]["parameters"] == 8000
    assert capsys.readouterr().out == f"{done.path.name}: 6 points sent\n"
    asked = len(server.operations)
    assert sync(done) == 0
    assert len(server.operations) == asked, "a run known to be complete costs no request"
    assert capsys.readouterr().out == f"{done.path.name}: nothing new\n"
    assert sync(done, "--force") == 0
    assert server.steps(run_id(done)) == ALL_STEPS
    assert len(server.operations) > asked


def test_without_its_own_note_the_server_is_asked(done: RunDirectory, server: WandbServer) -> None:
    sync(done)
    (done.wandb / "online.json").unlink()
    sync(done)
    assert server.steps(run_id(done)) == ALL_STEPS


def test_another_project_has_nothing_yet(done: RunDirectory, server: WandbServer, capsys: Any) -> None:
    sync(done)
    server.runs.clear()
    server.history.clear()
    assert sync(done, "--project", "elsewhere") == 0
    assert server.steps(run_id(done)) == ALL_STEPS
    assert server.runs[run_id(done)]["project"] == "elsewhere"


def test_while_an_offline_job_goes_on(tmp_path: Path, server: WandbServer) -> None:
    config = make_config(logger__mode="offline")
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(1))
    # From another process, as on a login node: in one process wandb refuses to open a run twice.
    command = [sys.executable, "-m", "prune", "wandb-sync", str(directory.path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert server.steps(run_id(directory)) == [1, 2]
    assert server.exits[run_id(directory)] == ["preempting", 1], "the run is to go on"
    train(tracker, directory, range(1, STATES))
    tracker.finish("done")
    set_status(directory, "done")
    assert sync(directory) == 0
    assert server.steps(run_id(directory)) == ALL_STEPS
    assert server.exits[run_id(directory)][-1] == 0
    (log,) = [path for path in log_files(directory.wandb) if path.parent.name.startswith("offline-")]
    assert log.with_name(f"{log.name}.synced").exists(), "`wandb sync` must not send it again"


def test_replay_and_live_logging_are_the_same(tmp_path: Path, server: WandbServer) -> None:
    config = make_config()
    live = make_directory(tmp_path, config)
    tracker = make_tracker(config, live)
    train(tracker, live, range(STATES))
    tracker.finish("done")
    set_status(live, "done")
    identifier = run_id(live)
    rows, run, summary = server.history.pop(identifier), server.runs.pop(identifier), server.summary.pop(identifier)
    assert sync(live, "--force") == 0

    def comparable(row: dict[str, Any]) -> dict[str, Any]:
        clock = ("_timestamp", "_runtime", "_wandb", "artifact_path", "_latest_artifact_path")
        return {key: comparable(value) if isinstance(value, dict) else value for key, value in row.items() if key not in clock}

    assert [comparable(row) for row in server.history[identifier].values()] == [comparable(row) for row in rows.values()]
    assert comparable(server.summary[identifier]) == comparable(summary)
    again = server.runs[identifier]
    assert [again[key] for key in ("groupName", "jobType", "tags", "displayName")] == [
        run[key] for key in ("groupName", "jobType", "tags", "displayName")
    ]
    configs = [json.loads(item["config"]) for item in (run, again)]
    assert {**configs[0], "_wandb": None} == {**configs[1], "_wandb": None}


def test_a_running_online_job_is_left_alone(tmp_path: Path, server: WandbServer, capsys: Any) -> None:
    config = make_config()
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(1))
    while not (directory.wandb / "online.json").exists():
        pass
    assert sync(directory) == 0
    assert "left to its own job" in capsys.readouterr().out
    tracker.finish("preempted")
    set_status(directory, "preempted")
    assert sync(directory) == 0
    assert server.steps(run_id(directory)) == [1, 2]


def test_two_at_the_same_time(
    done: RunDirectory, server: WandbServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sync_command, "INIT_SECONDS", 0.5)
    done.wandb.mkdir()
    with (done.wandb / "online.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert sync(done) == 1
    assert "another process is sending this run" in capsys.readouterr().out
    monkeypatch.setattr(sync_command, "INIT_SECONDS", 30.0)
    assert sync(done) == 0
    assert server.steps(run_id(done)) == ALL_STEPS


def test_an_upload_that_breaks_off_is_completed_by_the_next(
    done: RunDirectory, server: WandbServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    monkeypatch.setattr(sync_command, "FINISH_SECONDS", 1.0)
    server.drop_file_stream = True
    assert sync(done) == 1
    assert "not sent" in capsys.readouterr().out
    wandb.teardown()
    server.drop_file_stream = False
    monkeypatch.setattr(sync_command, "FINISH_SECONDS", 30.0)
    assert sync(done) == 0
    assert server.steps(run_id(done)) == ALL_STEPS


def test_offline_twice_is_once(done: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync(done) == 0, "auto without a key is offline"
    assert "6 points written to wandb/" in capsys.readouterr().out
    assert last_step(done.wandb) == ALL_STEPS[-1]
    assert sync(done) == 0
    assert sync(done, "--mode", "offline") == 0
    assert capsys.readouterr().out.count("nothing new") == 2
    assert len(log_files(done.wandb)) == 1


def test_one_failing_run_does_not_stop_the_others(
    tmp_path: Path, done: RunDirectory, server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_directory(tmp_path, make_config(seed=1))
    write_run(other)
    first = min(done, other, key=lambda directory: directory.path.name)
    first.wandb.write_text("a file where the folder should be")
    assert sync(done) == 1
    out = capsys.readouterr().out
    assert "not sent" in out
    assert "6 points sent" in out


def test_nothing_but_a_configuration(tmp_path: Path, server: WandbServer, capsys: pytest.CaptureFixture[str]) -> None:
    directory = make_directory(tmp_path, make_config())
    assert sync(directory) == 0
    assert "nothing new" in capsys.readouterr().out
    assert not server.runs


def test_a_run_of_another_version_is_refused(done: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    done.config.write_text(done.config.read_text().replace("format: 2", "format: 1"))
    assert sync(done) == 1
    error = capsys.readouterr().err
    assert f"{done.config} was written by another version of this program (format 1; this one reads format 2)" in error
    assert not done.wandb.exists()


def test_no_server_is_one_sentence(
    done: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert sync(done) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: W&B at http://127.0.0.1:9 cannot be reached")
    assert error.count("\n") == 1
    assert not done.wandb.exists()


def test_online_without_a_key(done: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync(done, "--mode", "online") == 1
    assert "WANDB_API_KEY" in capsys.readouterr().err


def test_the_key_is_blotted_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert without_key(ValueError(f"401\nfor {KEY}!")) == "401 for ***!"
