"""Locks of processes that are here, elsewhere or gone, and processes that hold one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prune.base.errors import UserError
from prune.rundir.lock import RunLock
from prune.rundir.owner import Owner


def elsewhere(**changes: Any) -> Owner:
    """A process of another machine."""
    other = replace(Owner.this_process(), token="x", host="elsewhere", boot="another boot", pid=1, process_started="1")
    return replace(other, **changes)


def here(**changes: Any) -> Owner:
    """A process of this machine and PID namespace."""
    return replace(Owner.this_process(), token="x", **changes)


def write(path: Path, owner: Owner, age: float = 0.0) -> None:
    """A lock that was last renewed `age` seconds ago."""
    path.write_bytes(owner.to_bytes())
    then = time.time() - age
    os.utime(path, (then, then))


def gone() -> int:
    """The pid of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught, RunLock(path):
        pass
    return str(caught.value)


CUT_OFF = """
import sys, time
from pathlib import Path
from prune.rundir.lock import RunLock
from prune.rundir.status import Heartbeat
with RunLock(Path(sys.argv[1])) as held, Heartbeat(held.beat, seconds=0.2):
    print("held", flush=True)
    time.sleep(60)
"""


def cut_off(path: Path, **variables: str) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    command = [sys.executable, "-c", CUT_OFF, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables})
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process
