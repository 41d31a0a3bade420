"""Every ending saves or says why not, and leaves no process behind: seen at the real command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prune.base.files import read_json_object
from prune.engine import run as engine_run
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.sweep.entry import PREEMPTED, run_in_turn
from tests.conftest import CONF, ENDLESS, TINY_RUN, Compose

SECONDS = 60.0
"""Longer than anything here takes on a busy machine."""

Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launch(image_folder: Path, tmp_path: Path) -> Iterator[Launch]:
    """Starts a run without an end, in a session of its own, that decodes images in two processes."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        data = (
            "dataset=image_folder",
            f"dataset.root={image_folder}",
            "dataset.image_size=8",
            "optim.batch_size=8",
            "dataset.resident=false",
        )
        keys = (*TINY_RUN, *data, "model.patch_size=4", f"outputs={tmp_path}/outputs", f"schedule.epochs_first={ENDLESS}")
        command = [sys.executable, str(CONF.parent / "launch.py"), *keys, "hardware.workers=2"]
        process = subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hears_hangups
        )
        started.append(process)
        wait_for(lambda: (bool(running(tmp_path)) and len(session(process.pid)) > 1) or process.poll() is not None)
        assert process.poll() is None, process.stderr and process.stderr.read()
        return process

    yield start
    for process in started:
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def hears_hangups() -> None:
    """Also where the tests themselves were started with nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_for(there: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def running(folder: Path) -> list[Path]:
    """Runs that have finished an epoch."""
    return [path for path in folder.glob("outputs/demo/*/metrics.jsonl") if path.stat().st_size]


def session(leader: int) -> list[int]:
    """The processes of a session, zombies aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX" and int(fields[3]) == leader:
            found.append(int(path.parent.name))
    return found


def status(folder: Path) -> object:
    (metrics,) = running(folder)
    return read_json_object(RunDirectory(metrics.parent).status).get("status")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_saves_and_leaves_nobody(launch: Launch, tmp_path: Path, number: signal.Signals) -> None:
    process = launch()
    process.send_signal(number)
    assert process.wait(SECONDS) == PREEMPTED
    assert status(tmp_path) == "preempted"
    wait_for(lambda: not session(process.pid))


def test_a_second_ctrl_c_leaves_at_once(launch: Launch, tmp_path: Path) -> None:
    process = launch()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(SECONDS) == PREEMPTED
    assert status(tmp_path) == "preempted"
    wait_for(lambda: not session(process.pid))


def test_workers_do_not_outlive_a_process_that_is_killed(launch: Launch) -> None:
    process = launch()
    process.kill()
    process.wait(SECONDS)
    wait_for(lambda: not session(process.pid))


def test_a_killed_worker_is_one_sentence(launch: Launch, tmp_path: Path) -> None:
    process = launch()
    os.kill(next(pid for pid in session(process.pid) if pid != process.pid), signal.SIGKILL)
    assert process.wait(SECONDS) == 1
    assert status(tmp_path) == "failed"
    wait_for(lambda: not session(process.pid))
    assert process.stderr is not None
    text = process.stderr.read()
    assert "a process that decodes images was killed" in text
    assert "Traceback" not in text


def test_ctrl_c_in_a_cells_last_moments_stops_the_sweep(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = compose_tiny("seed=0"), compose_tiny("seed=1")
    write = engine_run.write_checksums

    def interrupted(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engine_run, "write_checksums", interrupted)
    assert run_in_turn([(first, ()), (second, ())]) == PREEMPTED
    assert read_json_object(run_directory(first).status)["status"] == "done"
    assert not run_directory(second).path.exists()
