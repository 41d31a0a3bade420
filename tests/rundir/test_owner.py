"""Whether the process that holds a run still lives, as another process can tell."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from prune.base.files import read_json
from prune.rundir import lock as module
from prune.rundir.lock import RunLock
from prune.rundir.owner import process_started
from tests.rundir.locks import CUT_OFF, elsewhere, gone, here, refused, write

pytestmark = pytest.mark.usefixtures("no_job")


def test_a_live_process_keeps_its_lock_however_old_its_heartbeat(path: Path) -> None:
    """It may be stopped (Ctrl-Z), or its disk slow: its pid says that it lives."""
    write(path, here(), age=10_000)
    assert "is in use by process" in refused(path)


def test_a_pid_used_again_by_another_process_is_told_apart(path: Path) -> None:
    write(path, here(process_started="12345"))
    assert process_started(os.getpid()) != "12345"
    with RunLock(path):
        pass


def test_a_process_that_the_kernel_hides_counts_as_alive(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hidepid` hides other users' processes in /proc; signal 0 still finds them."""
    write(path, here(pid=1, process_started="12345"))
    real = Path.read_text

    def hidden(self: Path, *arguments: Any, **options: Any) -> str:
        if str(self) == "/proc/1/stat":
            raise FileNotFoundError(errno.ENOENT, "hidden", str(self))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", hidden)
    assert "is in use by process 1 " in refused(path)


def test_another_pid_namespace_is_another_machine(path: Path) -> None:
    """The same pid may be anything there: here it is gone, and the lock holds all the same."""
    write(path, here(namespace=1, pid=gone()), age=30)
    assert "is in use by process" in refused(path)


def in_namespace_of_its_own(command: list[str]) -> list[str]:
    """The command in a PID namespace of its own, as in a container. Skips the test where that is not allowed."""
    for privileges in ([], ["--user", "--map-root-user"]):
        prefix = ["unshare", *privileges, "--pid", "--fork", "--mount-proc", "--kill-child"]
        try:
            if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
                return [*prefix, *command]
        except FileNotFoundError:
            break
    pytest.skip("this machine lets nobody make a PID namespace")


def test_two_containers_that_share_the_folder(path: Path) -> None:
    """In each, pids mean something else: a live process is not taken for a dead one, nor the other way round."""
    command = in_namespace_of_its_own([sys.executable, "-c", CUT_OFF, str(path)])
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    inside = read_json(path)["pid"]
    assert f"is in use by process {inside} on host" in refused(path)
    second = subprocess.run(
        in_namespace_of_its_own([sys.executable, "-c", CUT_OFF, str(path)]), capture_output=True, text=True, check=False
    )
    assert f"is in use by process {inside} on host" in second.stderr
    first.kill()
    first.wait()
    assert f"is in use by process {inside} on host" in refused(path), "its heartbeat is fresh"
    then = time.time() - 61
    os.utime(path, (then, then))
    with RunLock(path):
        assert read_json(path)["pid"] == os.getpid()


def in_job(monkeypatch: pytest.MonkeyPatch, restart: int) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "41")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restart))


def test_a_requeued_job_takes_over_its_own_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
    write(path, elsewhere(job_id="41_3", restart=1))
    in_job(monkeypatch, restart=2)
    with RunLock(path):
        assert read_json(path)["job_id"] == "41_3"


@pytest.mark.parametrize(("job", "restart"), [("41_3", 2), ("41_3", 3), ("41_4", 0), ("41", 0)])
def test_a_second_command_of_the_same_job_does_not(path: Path, monkeypatch: pytest.MonkeyPatch, job: str, restart: int) -> None:
    """Nor another task of the array, nor a start that is not later."""
    write(path, elsewhere(job_id=job, restart=restart))
    in_job(monkeypatch, restart=2)
    assert f"(SLURM job {job})" in refused(path)
