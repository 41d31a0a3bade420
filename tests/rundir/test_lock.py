"""One process per run directory, and locks of the dead taken over."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prune.base.files import read_json
from prune.rundir import lock as module
from prune.rundir.lock import LOST_LOCK, RunLock, holder
from prune.rundir.owner import Owner
from tests.rundir.locks import cut_off, elsewhere, gone, here, refused, write

pytestmark = pytest.mark.usefixtures("no_job")


def test_the_second_process_is_told_who_holds_the_run(path: Path) -> None:
    with RunLock(path):
        assert f"process {os.getpid()} on host {socket.gethostname()}" in refused(path)
        held = holder(path)
        assert held is not None and held.pid == os.getpid()
    assert list(path.parent.iterdir()) == []
    assert holder(path) is None


def test_a_lock_whose_process_is_gone_is_taken_over_at_once(path: Path) -> None:
    write(path, here(pid=gone()))
    began = time.monotonic()
    with RunLock(path):
        assert read_json(path)["pid"] == os.getpid()
        assert time.monotonic() - began < module.HEARTBEAT_SECONDS
        assert [file.name for file in path.parent.iterdir()] == ["lock.json"]
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("other", [{}, {"host": socket.gethostname()}, {"boot": Owner.this_process().boot}])
def test_another_machines_lock_holds_while_its_heart_beats(path: Path, other: dict[str, str]) -> None:
    """Also one of the same name, and another container of the same machine."""
    write(path, elsewhere(**other), age=30)
    assert "process 1 on host" in refused(path)
    write(path, elsewhere(**other), age=61)
    with RunLock(path):
        pass


def test_the_heartbeats_age_is_read_off_the_file_systems_clock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host two minutes behind, or ahead, neither loses a live lock nor keeps a dead one."""
    write(path, elsewhere(taken="1999-01-01T00:00:00+00:00"), age=30)
    real = time.time
    for wrong in (-120, 120):
        monkeypatch.setattr(time, "time", lambda wrong=wrong: real() + wrong)
        assert "process 1 on host elsewhere" in refused(path)
    # The server that keeps the files may be two minutes off as well: only differences of its own times count.
    monkeypatch.setattr(time, "time", real)
    write(path, elsewhere(), age=-120)
    monkeypatch.setattr(module, "_now_of", lambda _: real() + 120 + 30)
    assert "process 1 on host elsewhere" in refused(path)
    monkeypatch.setattr(module, "_now_of", lambda _: real() + 120 + 61)
    with RunLock(path):
        pass


def test_in_a_folder_that_cannot_be_written_nobody_is_declared_dead(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, elsewhere(), age=10_000)
    assert holder(path) is None
    real = os.open

    def read_only(file: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, "read-only file system", str(file))
        return real(file, flags, *rest, **options)

    monkeypatch.setattr(os, "open", read_only)
    held = holder(path)
    assert held is not None and held.host == "elsewhere"


# ---- what stands in the lock's place -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b'{"token"', b"", b"[1]", b"{}", b"null", b"\xff\xfe", b'{"token": "x", "pid": "7"}'])
def test_a_lock_that_names_nobody_is_waited_for_and_then_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(module, "TORN_SECONDS", 0.3)
    path.write_bytes(content)
    assert holder(path) is None
    began = time.monotonic()
    with RunLock(path):
        assert time.monotonic() - began > 0.2
        assert read_json(path)["pid"] == os.getpid()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.with_name("other")) or path.with_name("other").write_text("{}"),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
    ],
    ids=["dangling", "symlink", "folder", "fifo"],
)
def test_what_is_no_lock_is_named_and_left_alone(path: Path, make: Callable[[Path], Any]) -> None:
    make(path)
    assert refused(path) == f"{path} is not a file that this program wrote; remove it."
    assert os.path.lexists(path)
    assert holder(path) is None


# ---- heartbeats --------------------------------------------------------------------------------------------------------


def test_the_heartbeat_is_renewed(path: Path) -> None:
    with RunLock(path) as lock:
        before = path.read_bytes()
        os.utime(path, (0, 0))
        lock.beat()
        assert time.time() - path.stat().st_mtime < 5
        assert path.read_bytes() == before
    assert not path.exists()


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")], ids=["removed", "torn"])
def test_a_lock_that_somebody_removed_or_damaged_is_put_back(path: Path, damage: Callable[[Path], Any]) -> None:
    with RunLock(path) as lock:
        damage(path)
        lock.beat()
        assert read_json(path)["pid"] == os.getpid()
        lock.beat()
    assert not path.exists()


def test_a_process_whose_lock_was_taken_over_leaves_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("prune.rundir.lock.os._exit", leave)
    with RunLock(path) as lock:
        write(path, elsewhere(), age=30)
        with pytest.raises(SystemExit, match=str(LOST_LOCK)):
            lock.beat()
        assert time.time() - path.stat().st_mtime > 29, "another's heartbeat is not ours to renew"
    assert read_json(path)["token"] == "x"  # the other's lock stays


def test_the_cut_off_process_leaves_before_the_new_one_begins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = cut_off(path, SLURM_JOB_ID="7")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 1.0)
    assert f"process {old.pid}" in refused(path), "the same job, but no restart of it"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with RunLock(path):
        assert old.poll() == LOST_LOCK
        assert read_json(path)["pid"] == os.getpid()
    assert read_json(path) is None


def test_a_process_that_is_gone_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = cut_off(path, SLURM_JOB_ID="7")
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 100.0)
    old.kill()
    old.wait()
    began = time.monotonic()
    with RunLock(path):
        assert time.monotonic() - began < 50


# ---- several at once ---------------------------------------------------------------------------------------------------

RACER = """
import os, sys, time
from pathlib import Path
from prune.base.errors import UserError
from prune.rundir.lock import RunLock
path, gun = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not gun.exists():
    pass
try:
    with RunLock(path):
        alone = path.with_name("alone")
        os.close(os.open(alone, os.O_CREAT | os.O_EXCL))  # fails if another is inside
        time.sleep(0.3)
        alone.unlink()
        print("held")
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("left", ["nothing", "dead", "old", "torn", "claimed"])
def test_of_many_that_race_for_a_lock_one_gets_it(path: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    dead = here(pid=gone())
    if left == "old":
        write(path, elsewhere(), age=100)
    elif left == "torn":
        path.write_text("{")
        os.utime(path, (0, 0))
    elif left != "nothing":
        write(path, dead)
    if left == "claimed":  # by one that died while it took the lock over
        found = module._look(path)
        assert found is not None
        write(found.claim, here(pid=gone(), process_started="7"))
    gun = path.with_name("gun")
    command = [sys.executable, "-c", RACER, str(path), str(gun)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    gun.touch()
    said = []
    for racer in racers:
        output, errors = racer.communicate(timeout=60)
        assert not errors, errors
        said.append(output.strip())
    held = [text for text in said if text == "held"]
    assert len(held) >= 1, "others may follow once it has been released"
    assert all("is in use by process" in text for text in said if text != "held")
    assert [file.name for file in path.parent.iterdir()] == ["gun"]


# ---- file systems that lack something ----------------------------------------------------------------------------------


def test_without_hard_links_it_takes_a_slower_way_and_says_so_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_links(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    caplog.set_level("INFO", "prune")
    for _ in range(2):
        with RunLock(path):
            assert read_json(path)["pid"] == os.getpid()
            assert "is in use by process" in refused(path)
    write(path, here(pid=gone()))
    with RunLock(path) as lock:
        assert path.read_bytes() == lock.owner.to_bytes()
    assert len([record for record in caplog.records if "has no hard links" in record.getMessage()]) == 1
    assert list(path.parent.iterdir()) == []
