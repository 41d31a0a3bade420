"""status.json: what a run is doing, right at each moment, also after it was killed."""

from __future__ import annotations

import logging
import os
import socket
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import read_json_object, write_json

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
"""How often a running process renews its lock and its status."""

STALE_SECONDS = 60.0
"""A heartbeat older than this belongs to a process that is gone."""


def now() -> str:
    """The present moment, UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def age(moment: str) -> float:
    """Seconds since a moment that `now` gave."""
    return (datetime.now(timezone.utc) - datetime.fromisoformat(moment)).total_seconds()


def job_id() -> str | None:
    """The SLURM job (or array task) that this process is, if any."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def restart_count() -> int:
    """How often SLURM had requeued this job when it was started; 0 at its first start and outside SLURM."""
    count = os.environ.get("SLURM_RESTART_COUNT", "")
    return int(count) if count.isdecimal() else 0


def effective_status(status: dict[str, Any]) -> dict[str, Any]:
    """`status` with a `running` whose heartbeat has stopped, or cannot be read, read as `lost`."""
    if status.get("status") != "running":
        return status
    try:
        beats = age(status["heartbeat"]) <= STALE_SECONDS
    except (KeyError, TypeError, ValueError):
        beats = False
    return status if beats else {**status, "status": "lost"}


class StatusFile:
    """Writes status.json of a run that this process holds the lock of.

    Keys: `status` (queued | running | done | failed | preempted), `state`, `epoch`, `host`, `pid`, `job_id`, `error` (one
    sentence), `traceback`, `heartbeat`, `started`, `starts` (one entry per start: time, commit, torch, device, …).
    """

    def __init__(self, path: Path):
        self.path = path
        self._mutex = threading.Lock()
        self._content: dict[str, Any] = read_json_object(path)
        starts = self._content.get("starts")
        self._content["starts"] = [start for start in starts if isinstance(start, dict)] if isinstance(starts, list) else []

    def start(self, about: dict[str, Any]) -> None:
        """The run begins or goes on; `about` says with what (commit, versions, device, precision, threads)."""
        with self._mutex:
            self._content["starts"].append({"time": now(), **about})
        # How far the run is will be known once its checkpoint has been read.
        self.update(status="running", started=now(), error=None, traceback=None, epochs_total=None, waiting=None)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """What each start so far said about itself."""
        return list(self._content["starts"])

    def value(self, key: str, default: Any = None) -> Any:
        """A field as it stands."""
        return self._content.get(key, default)

    def update(self, **fields: Any) -> None:
        """Set fields and renew the heartbeat."""
        with self._mutex:
            self._content.update(fields)
            self._content.update(host=socket.gethostname(), pid=os.getpid(), job_id=job_id(), heartbeat=now())
            self._content["node"] = os.environ.get("SLURMD_NODENAME")  # a cluster's own name for the host
            write_json(self.path, self._content)


class Heartbeat:
    """Calls functions every ten seconds from a thread of its own, until stopped."""

    def __init__(self, *beats: Any, seconds: float = HEARTBEAT_SECONDS):
        self._beats, self._seconds, self._stop = beats, seconds, threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            for beat in self._beats:
                try:
                    beat()
                except (OSError, UserError) as error:  # a full disk may recover; a heart that stops would lose the lock
                    log.warning("heartbeat not written (%s)", error)
