"""The live logger: real offline runs read back, real online runs against a stand-in, and every kind of trouble."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prune.rundir import RunDirectory, read_run
from prune.tracking_wandb import tracker as tracker_module
from prune.tracking_wandb.offline_log import BLOCK, chunks, last_step, log_files, records
from prune.tracking_wandb.points import identity
from prune.tracking_wandb.tracker import Tracker, make_tracker
from tests.wandb_runs import EPOCHS, KEY, STATES, make_config, make_directory, train, write_run
from tests.wandb_server import WandbServer

pytest_plugins = ["tests.wandb_fixtures"]
pytestmark = pytest.mark.usefixtures("wandb_environment")

ALL_STEPS = list(range(1, STATES * EPOCHS + 1))


def run_id(directory: RunDirectory) -> str:
    return identity(read_run(directory.path).config, directory).id


def offline_history(directory: RunDirectory) -> list[dict[str, Any]]:
    """All history rows in all `.wandb` files of a run."""
    return [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for path in log_files(directory.wandb)
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]


def offline_steps(directory: RunDirectory) -> list[int]:
    return [row["_step"] for row in offline_history(directory)]


def offline_records(directory: RunDirectory, kind: str) -> list[Any]:
    return [
        getattr(record, kind)
        for path in log_files(directory.wandb)
        for record in records(path)
        if record.WhichOneof("record_type") == kind
    ]


def assert_key_nowhere(folder: Path, *texts: str) -> None:
    for text in texts:
        assert KEY not in text
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
        if path.suffix == ".wandb":  # a record may lie across two blocks of the file
            assert not any(KEY.encode() in chunk for chunk in chunks(path.read_bytes()))


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
    assert json.loads(tables[0].read_text())["columns"] == ["kind", "block", "kept", "indices"]
    assert [exit.exit_code for exit in offline_records(directory, "exit")] == [0]


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
    assert type(tracker) is Tracker
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
from tests.wandb_runs import make_config, make_directory, train, write_epoch
from prune.tracking_wandb.tracker import make_tracker
config = make_config()
directory = make_directory(Path({outputs!r}), config)
tracker = make_tracker(config, directory)
train(tracker, directory, range(1))
tracker.epoch(write_epoch(directory, 1, 0))
print("training", flush=True)
time.sleep(600)
"""


def killed_job(tmp_path: Path, logged: Any) -> RunDirectory:
    """A job killed by SIGKILL in state 1, once `logged` says that W&B has what was logged before."""
    code = KILLED_JOB.format(root=str(Path(__file__).parents[1]), outputs=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"training\n"
    directory = make_directory(tmp_path, make_config())
    deadline = time.monotonic() + 30
    while not logged(directory):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return directory


def requeue(directory: RunDirectory) -> None:
    """The job goes on after its last checkpoint, the end of state 0: one epoch is replayed."""
    for file, count in ((directory.metrics, EPOCHS), (directory.states, 1)):
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:count]))
    tracker = make_tracker(make_config(), directory)
    train(tracker, directory, range(1, STATES))
    tracker.finish("done")


def test_requeue_after_a_kill_offline(tmp_path: Path) -> None:
    directory = killed_job(tmp_path, lambda directory: bool(log_files(directory.wandb)))
    requeue(directory)
    assert len(log_files(directory.wandb)) == 2
    assert {record.run_id for record in offline_records(directory, "run")} == {run_id(directory)}
    assert sorted(offline_steps(directory)) == ALL_STEPS


def test_requeue_after_a_kill_online(tmp_path: Path, server: WandbServer) -> None:
    directory = killed_job(tmp_path, lambda directory: len(server.steps(run_id(directory))) == 3)
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


@pytest.fixture(params=["closed", "hangs", "rejects"])
def trouble(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that is not there, one that never answers, and one that rejects the key."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    rejecting = None
    if request.param == "hangs":
        listener.listen(50)
    else:
        listener.close()
    if request.param == "rejects":
        rejecting = ThreadingHTTPServer(("127.0.0.1", port), Rejecting)
        threading.Thread(target=rejecting.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(tracker_module, "INIT_SECONDS", 2.0)
    yield request.param
    listener.close()
    if rejecting:
        rejecting.shutdown()
        rejecting.server_close()


class Rejecting(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps({"errors": [{"message": "invalid API key"}]}).encode()
        self.send_response(401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def test_trouble_costs_nothing_and_shows_no_key(
    tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    config = make_config(logger__mode="online")
    directory = make_directory(tmp_path, config)
    begin = time.monotonic()
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(STATES))
    assert time.monotonic() - begin < 1.0, "training must not wait"
    tracker.finish("done")
    assert time.monotonic() - begin < 15.0
    assert offline_steps(directory) == ALL_STEPS, "what W&B did not take is logged offline"
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("prune")]
    assert "logging offline" in warning
    assert "\n" not in warning

    begin = time.monotonic()
    config = make_config(logger__mode="online", seed=1)
    second = make_directory(tmp_path, config)
    tracker = make_tracker(config, second)
    train(tracker, second, range(STATES))
    tracker.finish("done")
    assert time.monotonic() - begin < 2.0, "the next run of the process does not try again"
    assert offline_steps(second) == ALL_STEPS
    output = capfd.readouterr()
    assert_key_nowhere(tmp_path, output.out, output.err, caplog.text)


def test_a_key_of_the_wrong_form(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short!secret")
    directory = make_directory(tmp_path, make_config())
    tracker = make_tracker(make_config(), directory)
    train(tracker, directory, range(STATES))
    tracker.finish("done")
    assert offline_steps(directory) == ALL_STEPS
    assert "short!secret" not in caplog.text
    assert "logging offline" in caplog.text


def test_online_leaves_no_key_on_disk(
    tmp_path: Path, server: WandbServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    config = make_config()
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(STATES))
    tracker.finish("done")
    assert server.authorizations, "the key was used"
    output = capfd.readouterr()
    assert_key_nowhere(tmp_path, output.out, output.err, caplog.text, json.dumps(server.runs), json.dumps(server.summary))


def test_online_without_a_key_does_not_ask_for_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config(logger__mode="online")
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(1))
    tracker.finish("done")
    assert offline_steps(directory) == [1, 2]
    assert "no W&B key is set" in caplog.text


def test_an_upload_that_fails_halfway_is_bounded(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracker_module, "FINISH_SECONDS", 2.0)
    server.drop_file_stream = True
    config = make_config()
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(STATES))
    begin = time.monotonic()
    tracker.finish("done")
    assert time.monotonic() - begin < 12.0
    assert "wandb-sync" in caplog.text
    server.drop_file_stream = False
    requeue(directory)
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


def test_a_log_cut_at_any_byte_is_read_up_to_there(tmp_path: Path) -> None:
    config = make_config()
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(STATES))
    tracker.finish("done")
    (path,) = log_files(directory.wandb)
    whole = path.read_bytes()
    everything = list(chunks(whole))
    for cut in range(0, len(whole), 97):
        part = list(chunks(whole[:cut]))
        assert part == everything[: len(part)]
    assert last_step(directory.wandb) == ALL_STEPS[-1]


def test_a_log_longer_than_a_block(tmp_path: Path) -> None:
    config = make_config(schedule__epochs=150)
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    for epoch in range(149):
        tracker.epoch({"state": 0, "epoch": epoch, "val_loss": 1.0 / (epoch + 1)})
    tracker.finish("failed")
    (path,) = log_files(directory.wandb)
    assert path.stat().st_size > 2 * BLOCK
    assert offline_steps(directory) == list(range(1, 150))
