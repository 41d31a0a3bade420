"""The live logger: what the run loop calls. Training never waits for it and never fails because of it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.rundir.directory import RunDirectory
from prune.rundir.reader import read_run
from prune.tracking_wandb.credentials import check_server, has_key, resolve_mode, without_key
from prune.tracking_wandb.points import History, unit_rows
from prune.tracking_wandb.session import Destination, Session

if TYPE_CHECKING:
    from prune.config.schema import RunConfig

log = logging.getLogger(__name__)

CONNECT_SECONDS, INIT_SECONDS, FINISH_SECONDS = 3.0, 10.0, 15.0
"""How long the server may take: to be connected to, to answer at first, and at the end for what is left to upload."""

RETRY_SECONDS = 600.0
"""After a failure the other runs of this process stay offline for so long, instead of waiting each in its turn."""

_failed_at: float | None = None


def make_wandb_tracker(config: RunConfig, directory: RunDirectory) -> WandbTracker | None:
    """The live logger; None where W&B is disabled or cannot be used.

    What the run's files hold and W&B does not is sent first, so a run that was killed, or logged nothing before, has no gap.
    """
    mode = resolve_mode(config.logger.mode)
    if mode == "disabled":
        return None
    try:
        return WandbTracker(config, directory, mode)
    except Exception as error:  # whatever it is, it must not stop a training run
        log.warning("W&B logging is off for this run: %s", without_key(error))
        return None


class WandbTracker:
    """Sends to W&B from a thread of its own, so that no call waits for the network, for a disk or for an import."""

    def __init__(self, config: RunConfig, directory: RunDirectory, mode: str):
        logger = config.logger
        if mode == "online" and not has_key():
            log.warning("logger.mode=online but no W&B key is set (WANDB_API_KEY or netrc): logging offline.")
            mode = "offline"
        self._directory = directory
        self._destination = Destination(
            mode, logger.project, logger.entity, logger.artifacts, True, INIT_SECONDS, FINISH_SECONDS
        )
        if directory.config.is_file():
            self._history = History.read(read_run(directory.path))
        else:
            self._history = History(config.model_dump(mode="json"))
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._status: str | None = None
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def epoch(self, line: dict[str, Any]) -> None:
        """A line of metrics.jsonl was written."""
        self._events.put(partial(self._history.add_epoch, dict(line)))

    def state(self, line: dict[str, Any], folder: Path) -> None:
        """A state is finished; `folder` holds its models and pruned.json."""
        self._events.put(partial(self._add_state, dict(line), folder))

    def finish(self, status: str) -> None:
        """End the W&B run as done | failed | preempted.

        Returns at once when offline, else after at most the time that W&B's answers may take.
        """
        self._events.put(partial(setattr, self, "_status", status))
        self._thread.join(INIT_SECONDS + FINISH_SECONDS + 5)
        if self._thread.is_alive():
            log.warning("W&B did not answer in time; `python -m prune wandb-sync` sends what is missing.")

    def _add_state(self, line: dict[str, Any], folder: Path) -> None:
        self._history.add_state(line, unit_rows(folder))

    def _work(self) -> None:
        """The thread: the only one that touches the history and the session once it has begun."""
        try:
            with self._open() as session:
                session.send()
                while self._status is None:
                    self._events.get()()
                    session.send()
                session.close(self._status)
        except Exception as error:  # W&B's trouble is reported and stays W&B's: the files on disk have everything
            log.warning("W&B logging stopped (%s); `python -m prune wandb-sync` sends what is missing.", without_key(error))

    def _open(self) -> Session:
        global _failed_at
        destination = self._destination
        if destination.mode == "online" and not (_failed_at and time.monotonic() - _failed_at < RETRY_SECONDS):
            try:
                check_server(CONNECT_SECONDS)
                return Session(self._directory, self._history, destination)
            except Exception as error:
                _failed_at = time.monotonic()
                log.warning("W&B cannot be reached (%s): logging offline.", without_key(error))
        return Session(self._directory, self._history, replace(destination, mode="offline"))
