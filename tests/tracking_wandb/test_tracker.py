"""The live logger: real offline runs read back, online runs against a stand-in, kills and requeues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prune.engine.cell import run_cell
from prune.engine.tracker import NoTracker, make_tracker
from prune.rundir.directory import RunDirectory
from prune.rundir.reader import read_run
from prune.tracking_wandb.offline_log import log_files
from tests.conftest import Compose
from tests.engine.runs import finished, stop_at
from tests.tracking_wandb.runs import (
    ALL_STEPS,
    EPOCHS,
    KEY,
    STATES,
    make_config,
    make_directory,
    offline_history,
    offline_records,
    offline_steps,
    run_id,
    train,
    write_run,
)
from tests.tracking_wandb.server import WandbServer

pytest_plugins = ["tests.tracking_wandb.fixtures"]
pytestmark = pytest.mark.usefixtures("wandb_environment")


def test_offline_run_read_back(tmp_path: Path) -> None:
    config = make_config()
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(STATES))
    tracker.finish("done")

    assert offline_steps(directory) == ALL_STEPS
    (run,) = offline_records(directory, "run")
    assert (run.run_id, run.project, run.run_group, run.job_type) == (run_id(directory), "vit", "demo", "digits")
    assert set(run.tags) == {"refill", "custom"}
    assert run.display_name == directory.path.name
    logged = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert logged["schedule"]["target"] == 0.7
    assert logged["method"]["name"] == "refill"
    axes = {metric.glob_name: metric.step_metric for metric in offline_records(directory, "metric") if metric.glob_name}
    assert axes == {"epoch/*": "epoch", "digits/epoch/*": "epoch", "state/*": "state", "digits/state/*": "state"}
    last = offline_history(directory)[-1]
    assert last["digits/state/test_accuracy_best"] == 63.0
    assert (last["epoch"], last["state"]) == (6, 2)
    summary = {item.key: item.value_json for record in offline_records(directory, "summary") for item in record.update}
    assert json.loads(summary["state_02"])["parameters"] == 8000
    tables = sorted(directory.wandb.glob("*/files/media/table/state/*.json"))
    assert len(tables) == STATES
    assert json.loads(tables[0].read_text())["columns"] == ["kind", "block", "group", "of", "kept", "indices"]
    assert [exit.exit_code for exit in offline_records(directory, "exit")] == [0]


def test_a_run_that_takes_state_0_over_logs_what_it_would_have_trained(
    compose_tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step once, with the values of a run that shares nothing; also where it had begun to log a state 0 of its own."""
    offline = ("method=rsst", "logger=wandb", "logger.mode=offline")
    alone = finished(run_cell(compose_tiny(*offline, "share_dense=false", f"outputs={tmp_path / 'alone'}")))
    with monkeypatch.context() as patch:
        stop_at(patch, 0, 1, 3)
        stopped = run_cell(compose_tiny(*offline, "seed=1"))
    assert stopped.status == "preempted"
    for seed in (0, 1):
        finished(run_cell(compose_tiny("method=refill", f"seed={seed}")))
    taken, resumed = (finished(run_cell(compose_tiny(*offline, f"seed={seed}"))) for seed in (0, 1))
    assert read_run(taken.path).state_0_of != taken.path.name and read_run(resumed.path).state_0_of != resumed.path.name
    assert logged(taken) == logged(alone)
    assert offline_steps(resumed) == offline_steps(taken) == [1, 2, 3, 4, 5, 6]
    assert [exit.exit_code for exit in offline_records(taken, "exit")] == [0]


def logged(directory: RunDirectory) -> list[dict[str, Any]]:
    """What was logged, times aside, and the random names of tables (what a table holds is told by its digest)."""
    aside = ("seconds", "images_per_second", "_runtime", "_timestamp", "artifact_path")
    return [{key: value for key, value in row.items() if not key.endswith(aside)} for row in offline_history(directory)]


def test_models_become_artifacts_when_asked(tmp_path: Path) -> None:
    config = make_config(logger__artifacts=True)
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(2))
    tracker.finish("done")
    models = [artifact for artifact in offline_records(directory, "artifact") if artifact.type == "model"]
    assert [artifact.name for artifact in models] == [f"{directory.path.name}-state_0{state}" for state in (0, 1)]
    assert {entry.path for entry in models[1].manifest.contents} == {
        "final.safetensors", "best.safetensors", "pruned.json",
    }  # fmt: skip


@pytest.mark.parametrize("changes", [{"logger__name": "none"}, {"logger__mode": "disabled"}])
def test_switched_off_leaves_no_trace(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = make_config(**changes)
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    assert type(tracker) is NoTracker
    train(tracker, directory, range(1))
    tracker.finish("done")
    assert not directory.wandb.exists()


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_several_runs_in_one_process_stay_apart(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    directories = []
    for seed in range(3):
        config = make_config(seed=seed)
        directories.append(make_directory(tmp_path, config))
        tracker = make_tracker(config, directories[-1])
        train(tracker, directories[-1], range(1 + seed))
        tracker.finish("failed" if seed == 1 else "done")
    for seed, directory in enumerate(directories):
        expected = list(range(1, (1 + seed) * EPOCHS + 1))
        if mode == "online":
            assert server.steps(run_id(directory)) == expected
            assert server.exits[run_id(directory)][-1] == (1 if seed == 1 else 0)
        else:
            assert offline_steps(directory) == expected
    assert len(server.runs) == (3 if mode == "online" else 0)


KILLED_JOB = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from prune.rundir.directory import RunDirectory
from prune.engine.tracker import make_tracker
from tests.tracking_wandb.runs import make_config, train, write_epoch
directory = RunDirectory(Path({path!r}))
tracker = make_tracker(make_config(), directory)
train(tracker, directory, range(1))
tracker.epoch(write_epoch(directory, 1, 0))
print("training", flush=True)
time.sleep(600)
"""


def kill_job(directory: RunDirectory, begun: Callable[[], bool]) -> None:
    """Run a job in a process of its own and kill it with SIGKILL in state 1, once W&B logging has `begun`."""
    code = KILLED_JOB.format(root=str(Path(__file__).parents[2]), path=str(directory.path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"training\n"
    deadline = time.monotonic() + 30
    while not begun():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def requeue(directory: RunDirectory) -> None:
    """The job goes on after its last checkpoint, the end of state 0: one epoch is replayed."""
    for file, count in ((directory.metrics, EPOCHS), (directory.states, 1)):
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:count]))
    tracker = make_tracker(make_config(), directory)
    train(tracker, directory, range(1, STATES))
    tracker.finish("done")


def test_requeue_after_a_kill_offline(tmp_path: Path) -> None:
    directory = make_directory(tmp_path, make_config())
    kill_job(directory, lambda: bool(log_files(directory.wandb)))
    requeue(directory)
    assert len(log_files(directory.wandb)) == 2
    assert {record.run_id for record in offline_records(directory, "run")} == {run_id(directory)}
    assert sorted(offline_steps(directory)) == ALL_STEPS


def test_requeue_after_a_kill_online(tmp_path: Path, server: WandbServer) -> None:
    """Preempted, then killed before the next upload (wandb sends every 15 s), then done: one run without gap or double."""
    directory = make_directory(tmp_path, make_config())
    tracker = make_tracker(make_config(), directory)
    train(tracker, directory, range(1))
    tracker.finish("preempted")
    assert server.steps(run_id(directory)) == [1, 2]
    starts = server.operations.count("RunResumeStatus")
    kill_job(directory, lambda: server.operations.count("RunResumeStatus") > starts)
    requeue(directory)
    assert server.steps(run_id(directory)) == ALL_STEPS
    assert len(server.runs) == 1
    assert server.exits[run_id(directory)][-1] == 0


def test_preempted_is_not_finished(tmp_path: Path, server: WandbServer) -> None:
    config = make_config()
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(1))
    tracker.finish("preempted")
    assert server.exits[run_id(directory)] == ["preempting", 1]


def test_a_run_logged_nowhere_before_is_caught_up(tmp_path: Path, server: WandbServer) -> None:
    directory = make_directory(tmp_path, make_config())
    write_run(directory, states=2)
    tracker = make_tracker(make_config(), directory)
    train(tracker, directory, range(2, STATES))
    tracker.finish("done")
    assert server.steps(run_id(directory)) == ALL_STEPS


def test_netrc_counts_as_a_key(tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    netrc = Path(os.environ["NETRC"])
    netrc.write_text(f"machine {server.url.removeprefix('http://')} login user password {KEY}\n")
    netrc.chmod(0o600)
    config = make_config()
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(1))
    tracker.finish("done")
    assert server.steps(run_id(directory)) == [1, 2]
