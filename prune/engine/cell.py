"""One cell of the matrix, from its configuration to an outcome: lock, log, status, and the run itself."""

from __future__ import annotations

import errno
import logging
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

from prune.base.errors import Preempted, UserError
from prune.base.files import read_json
from prune.base.logs import FILE_ONLY, log_file
from prune.config.schema import RunConfig
from prune.engine.stop import Stop
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.rundir.lock import RunLock
from prune.rundir.status import Heartbeat, StatusFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. `error` is one sentence when it failed; `signals` are those that asked it to stop."""

    directory: RunDirectory
    status: Literal["done", "already done", "failed", "preempted"]
    error: str | None = None
    signals: frozenset[signal.Signals] = frozenset()


def run_cell(config: RunConfig) -> Outcome:
    """Run one cell to its end, from wherever it stands. Never raises for what goes wrong in the run itself."""
    directory = run_directory(config)
    try:
        directory.check_format()
    except UserError as error:
        return Outcome(directory, "failed", str(error))
    if (read_json(directory.status) or {}).get("status") == "done":
        log.info("%s is done already; nothing to do", directory.path)
        return Outcome(directory, "already done")
    try:
        _make(directory)
        with RunLock(directory.lock) as lock, log_file(directory.log), Stop() as stop:
            return _run_locked(config, directory, lock, stop)
    except UserError as error:  # before the lock was ours: nothing may be written here
        return Outcome(directory, "failed", str(error))


def _make(directory: RunDirectory) -> None:
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        if not os.access(directory.path, os.W_OK):
            raise PermissionError(errno.EACCES, "permission denied")
    except OSError as error:
        raise UserError(f"outputs: {directory.path} cannot be written ({error.strerror}).") from None


def _run_locked(config: RunConfig, directory: RunDirectory, lock: RunLock, stop: Stop) -> Outcome:
    status = StatusFile(directory.status)
    try:
        with _full_disk_explained(directory):
            directory.write_config(config.model_dump(mode="json"))
            _execute(config, directory, lock, status, stop)
    except Preempted as error:
        log.warning("stopped by %s; saved. The same command goes on from here.", error)
        status.update(status="preempted")
        return Outcome(directory, "preempted", signals=frozenset(stop.received))
    except KeyboardInterrupt:  # the second Ctrl-C: at once, without saving
        status.update(status="preempted")
        raise
    except Exception as error:
        known = isinstance(error, UserError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        # The sentence is shown once, at the end; a traceback is for the log alone.
        log.error("%s", text, exc_info=None if known else error, extra=FILE_ONLY)
        _record_failure(status, text, None if known else traceback.format_exc())
        return Outcome(directory, "failed", text)
    status.update(status="done")
    return Outcome(directory, "done")


def _execute(config: RunConfig, directory: RunDirectory, lock: RunLock, status: StatusFile, stop: Stop) -> None:
    # Here begins what needs torch.
    from prune.engine.environment import about_this_start, threads_for
    from prune.engine.job import prepare
    from prune.engine.run import Run
    from prune.engine.tracker import make_tracker
    from prune.engine.watch import Watcher

    threads = threads_for(config, status)
    status.start(about_this_start(config, status, threads))
    log.info("run directory: %s", directory.path)
    with ExitStack() as stack:
        stack.enter_context(Heartbeat(lock.beat, status.update))
        job = prepare(config, directory, stop, threads)
        tracker = make_tracker(config, directory)
        watcher = stack.enter_context(Watcher(job, status, tracker))
        outcome = "failed"
        try:
            Run(job, watcher).execute()
            outcome = "done"
        except Preempted:
            outcome = "preempted"
            raise
        finally:
            tracker.finish(outcome)


@contextmanager
def _full_disk_explained(directory: RunDirectory) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(
            f"the disk of {directory.path} is full ({error.strerror}); the last good checkpoint is kept, and the same command "
            "goes on from it once there is room."
        ) from None


def _record_failure(status: StatusFile, error: str, trace: str | None) -> None:
    try:
        status.update(status="failed", error=error, traceback=trace)
    except OSError as problem:  # the very disk may be full; the log and the exit code still tell
        log.error("status.json could not be written (%s)", problem.strerror)
