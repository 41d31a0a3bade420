"""One process per run directory: a lock that survives crashes, requeues and network file systems."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import read_json, write_json
from prune.rundir.status import HEARTBEAT_SECONDS, STALE_SECONDS, age, job_id, now

log = logging.getLogger(__name__)

LOST_LOCK = 75
"""Exit code of a process whose run was taken over."""


class RunLock:
    """Holds `lock.json` of a run while in use.

    The file is created by linking a finished file into place, which is atomic on every POSIX file system, NFS included.
    A lock is taken over if it names our own SLURM job (requeued after its node died), if its process on this host is gone,
    or if another host's heartbeat is older than 60 s.

    Raises:
        UserError: on entering, if another process holds the run; it names that process's host and pid.
    """

    def __init__(self, path: Path):
        self.path = path
        self._content: dict[str, Any] = {
            "token": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_started": process_started(os.getpid()),
            "job_id": job_id(),
            "taken": now(),
        }
        self._before: dict[str, Any] | None = None

    def __enter__(self) -> RunLock:
        offer = self.path.with_name(f".lock.{self._content['token']}")
        offer.write_text(json.dumps({**self._content, "heartbeat": now()}))
        try:
            while not self._link(offer):
                self._clear_if_dead()
        finally:
            offer.unlink()
        if self._before is not None and _may_still_write(self._before):
            # Cut off from its scheduler, it may live on: it notices at its next heartbeat that the run is no longer its own.
            log.warning("waiting until the process that held this run before has noticed")
            time.sleep(1.5 * HEARTBEAT_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours():
            self.path.unlink()

    def beat(self) -> None:
        """Renew the heartbeat. A process whose lock was taken over ends here and now: the run is another's to write."""
        if self._is_ours():
            write_json(self.path, {**self._content, "heartbeat": now()})
        elif read_json(self.path) is not None:
            log.error("%s: another process has taken this run over; leaving at once", self.path.parent)
            os._exit(LOST_LOCK)

    def _is_ours(self) -> bool:
        holder = read_json(self.path)
        return holder is not None and holder.get("token") == self._content["token"]

    def _link(self, offer: Path) -> bool:
        try:
            os.link(offer, self.path)
        except FileExistsError:
            return False
        return True

    def _clear_if_dead(self) -> None:
        """Move the present lock aside if its holder is gone, else raise."""
        holder = read_json(self.path)
        if holder is None:
            if self.path.exists():  # torn by a crash while it was being renewed: it names nobody
                self.path.unlink(missing_ok=True)
            return
        if not _is_dead(holder):
            raise UserError(
                f"{self.path.parent} is in use by process {holder['pid']} on host {holder['host']}"
                + (f" (SLURM job {holder['job_id']})" if holder.get("job_id") else "")
                + "; wait for it or stop it."
            )
        self._before = holder
        aside = self.path.with_name(f".lock.dead.{self._content['token']}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return  # another process was quicker
        moved = read_json(aside)
        if moved is not None and moved.get("token") != holder.get("token"):
            # Between reading and renaming, another process took the dead lock over: give it back its own.
            self._link(aside)
        aside.unlink()


def _may_still_write(holder: dict[str, Any]) -> bool:
    """Whether a process whose lock was taken over because its job is ours could be running all the same."""
    if holder["host"] == socket.gethostname():
        return process_started(holder["pid"]) == holder["process_started"]
    return age(holder["heartbeat"]) <= STALE_SECONDS


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock at `path`; None if nobody does, or only a process that is gone."""
    content = read_json(path)
    return None if content is None or _is_dead(content) else content


def _is_dead(holder: dict[str, Any]) -> bool:
    if holder.get("job_id") is not None and holder["job_id"] == job_id():
        return True
    if holder["host"] == socket.gethostname():
        return process_started(holder["pid"]) != holder["process_started"]
    return age(holder["heartbeat"]) > STALE_SECONDS


def process_started(pid: int) -> str | None:
    """When a process of this host started (clock ticks since boot, so a reused pid is told apart); None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _alive_without_proc(pid)
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _alive_without_proc(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "alive"
    return "alive"
