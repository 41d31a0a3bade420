"""One process per run directory, and locks of the dead taken over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest

from prune.engine.cell import run_cell
from prune.base.errors import UserError
from prune.base.files import read_json
from prune.rundir.lock import LOST_LOCK, RunLock, process_started


def holder(**changes) -> str:
    beat = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = {
        "token": "x",
        "host": "elsewhere",
        "pid": 1,
        "process_started": "1",
        "job_id": None,
        "taken": beat,
        "heartbeat": beat,
    }
    return json.dumps({**content, **changes})


def old(seconds: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock.json"


def test_the_second_process_is_told_who_holds_the_run(path):
    with RunLock(path), pytest.raises(UserError) as caught, RunLock(path):
        pass
    assert f"process {os.getpid()} on host {socket.gethostname()}" in str(caught.value)
    assert not path.exists()


def test_a_run_in_use_fails_with_that_sentence_and_is_left_alone(compose_tiny):
    config = compose_tiny("method=refill")
    from prune.rundir.identity import run_directory

    directory = run_directory(config)
    directory.path.mkdir(parents=True)
    with RunLock(directory.lock):
        outcome = run_cell(config)
    assert outcome.status == "failed" and str(os.getpid()) in outcome.error
    assert list(directory.path.iterdir()) == []


def test_a_lock_whose_process_is_gone_is_taken_over(path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    path.write_text(holder(host=socket.gethostname(), pid=process.pid))
    with RunLock(path):
        assert read_json(path)["pid"] == os.getpid()
    assert list(path.parent.iterdir()) == []


def test_a_pid_used_again_by_another_process_is_told_apart(path):
    path.write_text(holder(host=socket.gethostname(), pid=os.getpid(), process_started="12345"))
    assert process_started(os.getpid()) != "12345"
    with RunLock(path):
        pass


def test_another_hosts_lock_holds_while_its_heart_beats(path):
    path.write_text(holder(heartbeat=old(30)))
    with pytest.raises(UserError, match="process 1 on host elsewhere"), RunLock(path):
        pass
    path.write_text(holder(heartbeat=old(61)))
    with RunLock(path):
        pass


def test_a_requeued_job_takes_over_its_own_lock(path, monkeypatch):
    monkeypatch.setattr("prune.rundir.lock.HEARTBEAT_SECONDS", 0.01)
    path.write_text(holder(job_id="41_3"))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "41")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    with RunLock(path):
        assert read_json(path)["job_id"] == "41_3"


def test_a_torn_lock_names_nobody(path):
    path.write_text('{"token"')
    with RunLock(path):
        assert read_json(path)["pid"] == os.getpid()


def test_the_heartbeat_is_renewed(path):
    with RunLock(path) as lock:
        path.write_text(json.dumps({**read_json(path), "heartbeat": old(50)}))
        lock.beat()
        age = datetime.now(timezone.utc) - datetime.fromisoformat(read_json(path)["heartbeat"])
        assert age < timedelta(seconds=5)
    assert not path.exists()


def test_a_process_whose_lock_was_taken_over_leaves_at_once(path, monkeypatch):
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("prune.rundir.lock.os._exit", leave)
    with RunLock(path) as lock:
        path.write_text(holder())
        with pytest.raises(SystemExit, match=str(LOST_LOCK)):
            lock.beat()
    assert read_json(path)["token"] == "x"  # the other's lock stays
