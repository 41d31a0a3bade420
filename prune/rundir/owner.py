"""Which process holds a run, and how another process can tell whether it still lives."""

from __future__ import annotations

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path

from prune.rundir.status import job_id, now, restart_count


@dataclass(frozen=True)
class Owner:
    """One process that holds, or held, a lock.

    Attributes:
        token: unique to each time that a lock is taken.
        host, boot, namespace: host name, the kernel's boot id and the PID namespace: within these a pid means one process.
        pid, process_started: the process; the start (clock ticks since boot) tells a pid that is used again apart.
        job_id, restart: the SLURM job or array task, and how often it had been requeued.
        taken: when, UTC, by the holder's own clock: for people only.
    """

    token: str
    host: str
    boot: str | None
    namespace: int | None
    pid: int
    process_started: str | None
    job_id: str | None
    restart: int
    taken: str

    @classmethod
    def this_process(cls) -> Owner:
        """This process, with a token of its own."""
        boot, namespace = _kernel()
        pid = os.getpid()
        started, host = process_started(pid), socket.gethostname()
        return cls(uuid.uuid4().hex, host, boot, namespace, pid, started, job_id(), restart_count(), now())

    @classmethod
    def parse(cls, content: bytes) -> Owner | None:
        """What a lock's file says; None if it says nothing that makes sense."""
        try:
            values = json.loads(content)
        except ValueError:
            return None
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(cls)}:
            return None
        texts = all(isinstance(values[key], str) for key in ("token", "host", "taken"))
        numbers = all(type(values[key]) is int for key in ("pid", "restart"))
        return cls(**values) if texts and numbers else None

    def to_bytes(self) -> bytes:
        """The lock's file."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    def in_words(self) -> str:
        """`process 4711 on host n7 (SLURM job 12_0)`."""
        return f"process {self.pid} on host {self.host}" + (f" (SLURM job {self.job_id})" if self.job_id else "")

    def shares_pids_with(self, other: Owner) -> bool:
        """Whether a pid means the same process to both."""
        return (self.host, self.boot, self.namespace) == (other.host, other.boot, other.namespace)

    def is_later_restart_of(self, other: Owner) -> bool:
        """Whether the scheduler has requeued the other's job and this is the job's new start.

        The same job alone proves nothing: two commands in one allocation have the same.
        """
        return self.job_id is not None and self.job_id == other.job_id and self.restart > other.restart

    def lives_here(self) -> bool:
        """Whether this process runs. Only for owners that share pids with the process that asks."""
        started = process_started(self.pid)
        # A process whose start cannot be read (hidden from other users, or no /proc) exists all the same.
        return started is not None and (started == UNKNOWN_START or started == self.process_started)


UNKNOWN_START = "unknown"
"""Start of a process that exists, and of which the kernel tells nothing more."""


def process_started(pid: int) -> str | None:
    """When a process of this PID namespace started, in clock ticks since boot; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return UNKNOWN_START if _exists(pid) else None
    return None if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


@lru_cache
def _kernel() -> tuple[str | None, int | None]:
    """Boot id and PID namespace; None where there is no such thing."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = None
    try:
        return boot, os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return boot, None
