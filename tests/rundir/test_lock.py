"""One process per run directory, and locks of the dead taken over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

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


CUT_OFF = """
import sys, time
from pathlib import Path
from prune.rundir.lock import RunLock
from prune.rundir.status import Heartbeat
with RunLock(Path(sys.argv[1])) as held, Heartbeat(held.beat, seconds=0.2):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_cut_off_process_leaves_before_the_new_one_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock.json"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr("prune.rundir.lock.HEARTBEAT_SECONDS", 1.0)
    old = subprocess.Popen([sys.executable, "-c", CUT_OFF, str(path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert old.stdout is not None
    assert old.stdout.readline() == "held\n"
    with RunLock(path):
        assert old.poll() == LOST_LOCK
        assert read_json(path)["pid"] == os.getpid()
    assert read_json(path) is None


def test_a_process_that_is_gone_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock.json"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr("prune.rundir.lock.HEARTBEAT_SECONDS", 100.0)
    old = subprocess.Popen([sys.executable, "-c", CUT_OFF, str(path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert old.stdout is not None
    old.stdout.readline()
    old.kill()
    old.wait()
    began = time.monotonic()
    with RunLock(path):
        assert time.monotonic() - began < 5
