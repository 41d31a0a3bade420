"""A run's part in the shared dense state of its sweep: find it, wait for it, or train it for the others.

Sharing saves work and is never a condition: whatever goes wrong with it is logged, and the run trains its own state 0.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from prune.base.errors import UserError
from prune.config.schema import RunConfig
from prune.engine.stop import Stop
from prune.rundir.checkpoint import Progress
from prune.rundir.dense import DenseState, dense_directory, read_dense
from prune.rundir.dense_publish import keep_point, publish
from prune.rundir.digests import Digests
from prune.rundir.lock import InUse, RunLock, holder
from prune.rundir.status import StatusFile

log = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
"""How often a run that waits for another to train its state 0 looks whether it is there."""

SHARED_FACTS = ("data.json", "weights.json")
"""What was found at a run's first start and fixes its state 0; the rest is the method's."""


class Sharing:
    """Used as a context, so that the lock on what this run trains for others is released however it ends.

    Args:
        config: of the run; None for one whose state 0 is its own in any case.
        run: the run's name.
        points: the rewind points that other runs of the sweep want.

    Attributes:
        found: the state to adopt, whose files have been checked; None if this run trains its own.
        others: the rewind points that this run keeps for others, besides its own.
        start: what this run's present start said of itself, to be told with what it publishes.
    """

    def __init__(self, config: RunConfig | None = None, run: str = "", points: Iterable[str] = ()):
        self.directory = None if config is None else dense_directory(config)
        self.run = run
        self.found: DenseState | None = None
        self.start: dict[str, Any] = {}
        self._own = () if config is None else config.method.rewind_points
        self.others = tuple(point for point in dict.fromkeys(["init", *points]) if point not in self._own)
        self._lock: RunLock | None = None
        self._mutex = threading.Lock()
        self._said: set[str] = set()

    def __enter__(self) -> Sharing:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def begin(self, progress: Progress, status: StatusFile, stop: Stop) -> None:
        """Before state 0 is trained: find what is there, or take on to train it; wait while another process does.

        A run in the middle of its own state 0 waits for nobody.

        Raises:
            Preempted: if the run is asked to stop while it waits.
        """
        if self.directory is None or progress.state > 0:
            return
        waits = not (progress.metrics or progress.step)
        try:
            while not self._find():
                trainer = holder(self.directory.lock)
                if trainer is None and self._take():
                    return
                if trainer is not None and not waits:
                    self._say(f"{trainer.in_words()} trains the same state 0; this run goes on with its own")
                    return
                if trainer is not None and self._say(f"waiting for state 0, which {trainer.in_words()} trains"):
                    status.update(status="running", error=None, traceback=None, waiting=trainer.in_words())
                stop.check()
                time.sleep(WAIT_SECONDS)
        except (OSError, UserError) as error:
            log.warning("%s cannot be used (%s); this run trains its own state 0", self.directory.path, error)

    def beat(self) -> None:
        """Renew the heartbeat of the lock, if this run holds it."""
        with self._mutex:
            if self._lock is None:
                return
            self._lock.path.parent.mkdir(parents=True, exist_ok=True)  # it may have been removed meanwhile
            if not self._lock.renew():
                log.warning("%s: another process trains it now; this run goes on with its own", self._lock.path.parent)
                self._lock = None

    def decline(self, why: str) -> None:
        """What was found is not to be adopted after all. What this run trains instead is for others too, if nobody is at it."""
        assert self.found is not None
        log.warning("%s: %s; this run trains its own state 0", self.found.directory.path, why)
        self.found = None
        try:
            self._hold()
        except (OSError, UserError) as error:
            log.warning("what this run trains cannot be kept for others (%s)", error)

    def keep(self, point: str, tensors: Mapping[str, Tensor]) -> None:
        """The run passes a rewind point that others want."""
        if self.directory is None or self._lock is None:
            return
        try:
            keep_point(self.directory, self.run, point, tensors)
        except (OSError, UserError) as error:
            log.warning("the rewind point %s was not kept for other runs (%s)", point, error)

    def publish(self, digests: Digests, progress: Progress) -> None:
        """State 0 is finished, and its files are written: make it the shared one, and let go of the lock.

        Args:
            progress: with all lines of state 0.
        """
        if self.directory is None:
            return
        try:
            if self._lock is None and not self._hold():
                log.info("another process trains the same state 0; this run keeps its own to itself")
                return
            made = publish(
                self.directory,
                digests,
                self._own,
                start=self.start,
                threads=progress.threads,
                facts={name: fact for name, fact in progress.facts.items() if name in SHARED_FACTS},
                metrics=progress.metrics,
                line=progress.states[0],
            )
            if made is not None:
                log.info("state 0 is there for all runs of this sweep that have the same: %s", self.directory.path)
        except (OSError, UserError) as error:
            log.warning("state 0 is not shared with other runs: %s could not be written (%s)", self.directory.path, error)
        finally:
            self._release()

    def _find(self) -> bool:
        """Whether there is a state to adopt, all of whose files are as they were written; it is then `found`."""
        assert self.directory is not None
        there = read_dense(self.directory)
        if there is None:
            return False
        if isinstance(there, str):
            self._say(f"{there}; state 0 is trained anew", logging.WARNING)
            return False
        if lacks := there.lacks(self._own):
            points = ", ".join(lacks)
            self._say(f"{there.directory.path} was trained without the rewind point {points}; this run trains its own state 0")
            return False
        if broken := there.broken(self._own):
            self._say(f"{broken} is missing or damaged; state 0 is trained anew", logging.WARNING)
            return False
        self.found = there
        return True

    def _take(self) -> bool:
        """Whether nothing has to be waited for: the lock is ours, or what we wanted to train has just been finished."""
        if not self._hold():
            return False
        if self._find():
            self._release()
        return True

    def _hold(self) -> bool:
        """Take the lock; false if another process has it."""
        assert self.directory is not None
        self.directory.path.mkdir(parents=True, exist_ok=True)
        try:
            lock = RunLock(self.directory.lock).__enter__()
        except InUse:
            return False
        with self._mutex:
            self._lock = lock
        return True

    def _release(self) -> None:
        with self._mutex:
            if self._lock is not None:
                self._lock.__exit__()
                self._lock = None

    def _say(self, text: str, level: int = logging.INFO) -> bool:
        """Once; whether it was the first time."""
        if text in self._said:
            return False
        self._said.add(text)
        log.log(level, "%s", text)
        return True
