"""W&B in trouble: no server, one that hangs, a bad key, a service that dies. Training must not notice, the key not show."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prune.engine.tracker import make_tracker
from prune.tracking_wandb import tracker as tracker_module
from prune.tracking_wandb.offline_log import chunks
from tests.tracking_wandb.runs import ALL_STEPS, KEY, STATES, make_config, make_directory, offline_steps, run_id, train
from tests.tracking_wandb.server import WandbServer

pytest_plugins = ["tests.tracking_wandb.fixtures"]
pytestmark = pytest.mark.usefixtures("wandb_environment")


def assert_key_nowhere(folder: Path, *texts: str) -> None:
    for text in texts:
        assert KEY not in text
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
        if path.suffix == ".wandb":  # a record may lie across two blocks of the file
            assert not any(KEY.encode() in chunk for chunk in chunks(path.read_bytes()))


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
    tmp_path: Path,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = make_config(logger__mode="online")
    directory = make_directory(tmp_path, config)
    # W&B's thread gets no further than the server until training is over: had training to wait for it, it would wait for good.
    trained, check_server = threading.Event(), tracker_module.check_server

    def check_later(seconds: float) -> None:
        trained.wait()
        check_server(seconds)

    monkeypatch.setattr(tracker_module, "check_server", check_later)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(STATES))
    trained.set()
    tracker.finish("done")
    assert offline_steps(directory) == ALL_STEPS, "what W&B did not take is logged offline"
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("prune")]
    assert "logging offline" in warning
    assert "\n" not in warning

    config = make_config(logger__mode="online", seed=1)
    second = make_directory(tmp_path, config)
    tracker = make_tracker(config, second)
    train(tracker, second, range(STATES))
    tracker.finish("done")
    warnings = [record for record in caplog.records if record.name.startswith("prune")]
    assert len(warnings) == 1, "the next run of the process does not try again"
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
    tracker.finish("done")
    assert "wandb-sync" in caplog.text, "it gave up, and says who sends the rest"
    server.drop_file_stream = False
    make_tracker(config, directory).finish("done")
    assert server.steps(run_id(directory)) == ALL_STEPS


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_service_that_is_killed(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    """The signals of a scheduler go to every process of a job, wandb's own among them."""
    monkeypatch.setenv("WANDB_MODE", mode)
    config = make_config()
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(1))
    begun = "online.json" if mode == "online" else "offline-run-*/*.wandb"
    deadline = time.monotonic() + 20
    while not list(directory.wandb.glob(begun)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for service in subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"], capture_output=True).stdout.split():
        os.kill(int(service), signal.SIGKILL)
    train(tracker, directory, range(1, STATES))
    tracker.finish("preempted")
    assert "W&B logging stopped" in caplog.text

    make_tracker(config, directory).finish("done")
    assert (server.steps(run_id(directory)) if mode == "online" else offline_steps(directory)) == ALL_STEPS
