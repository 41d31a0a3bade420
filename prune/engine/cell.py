"""One cell of the matrix, from its configuration to an outcome: lock, log, status, and the run itself."""

from __future__ import annotations

import errno
import logging
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal

from prune.base.errors import Preempted, UserError
from prune.base.logs import FILE_ONLY, log_file
from prune.base.machine import set_cublas_workspace
from prune.base.trouble import disk_is_full, in_words, memory_is_short, worker_was_killed
from prune.config.schema import RunConfig
from prune.engine.stop import Stop
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.rundir.lock import RunLock
from prune.rundir.reader import is_finished, read_run
from prune.rundir.status import Heartbeat, StatusFile

log = logging.getLogger(__name__)


Ending = Literal["done", "already done", "failed", "preempted"]


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. `error` is one sentence when it failed; `signals` are those that asked it to stop, perhaps too late."""

    directory: RunDirectory
    status: Ending
    error: str | None = None
    signals: frozenset[signal.Signals] = frozenset()


@dataclass(frozen=True)
class Task:
    """What is to be done of a cell.

    Attributes:
        points: rewind points that other cells of the sweep want of the state 0 that they share with it.
        dense_only: only state 0; the rest is for another job, for which the run is queued again.
        epoch_ended: called after each epoch, once its line is on disk.
    """

    points: Sequence[str] = ()
    dense_only: bool = False
    epoch_ended: Callable[[], None] | None = None

    @property
    def states(self) -> int | None:
        return 1 if self.dense_only else None

    @property
    def done(self) -> str:
        """The run's status when all has been done."""
        return "queued" if self.dense_only else "done"


def run_cell(config: RunConfig, task: Task = Task()) -> Outcome:
    """Run one cell to its end, from wherever it stands. Never raises for what goes wrong in the run itself."""
    directory = run_directory(config)
    try:
        directory.check()
        if is_finished(read_run(directory.path, config.model_dump(mode="json"))):
            log.info("%s is done already; nothing to do", directory.path)
            return Outcome(directory, "already done")
        _make(directory)
        with RunLock(directory.lock) as lock, log_file(directory.log), Stop() as stop:
            return _run_locked(config, directory, lock, stop, task)
    except UserError as error:  # before the lock was ours: nothing may be written here
        return Outcome(directory, "failed", str(error))
    except OSError as error:
        return Outcome(directory, "failed", f"{in_words(error, directory.path)}.")


def _make(directory: RunDirectory) -> None:
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        if not os.access(directory.path, os.W_OK):
            raise PermissionError(errno.EACCES, "permission denied")
    except OSError as error:
        raise UserError(f"outputs: {directory.path} cannot be written ({error.strerror}).") from None


def _run_locked(config: RunConfig, directory: RunDirectory, lock: RunLock, stop: Stop, task: Task) -> Outcome:
    status = StatusFile(directory.status)
    error, trace = None, None
    try:
        directory.write_config(config.model_dump(mode="json"))
        _execute(config, directory, lock, status, stop, task)
        status.update(status=task.done)
        word: Ending = "done"
    except Preempted as signal_name:
        log.warning("stopped by %s; saved. The same command goes on from here.", signal_name)
        word = "preempted"
    except KeyboardInterrupt:  # the second Ctrl-C: at once, without saving
        _record(status, "preempted", None, None)
        raise
    except Exception as problem:
        word, error = "failed", _sentence(problem, directory)
        if error is None:
            error, trace = f"{type(problem).__name__}: {problem}", traceback.format_exc()
        # The sentence is shown once, at the end; a traceback is for the log alone.
        log.error("%s", error, exc_info=problem if trace else None, extra=FILE_ONLY)
    if word != "done":
        # What failed in state 0 alone is tried again by the job that is queued for the whole run.
        _record(status, task.done if word == "failed" and task.dense_only else word, error, trace)
    return Outcome(directory, word, error, frozenset(stop.received))


def _execute(
    config: RunConfig,
    directory: RunDirectory,
    lock: RunLock,
    status: StatusFile,
    stop: Stop,
    task: Task,
) -> None:
    set_cublas_workspace()
    # Here begins what needs torch.
    from prune.engine.deterministic import telling
    from prune.engine.environment import about_this_start, flag, threads_for
    from prune.engine.job import prepare
    from prune.engine.recover import find_progress
    from prune.engine.run import Run
    from prune.engine.sharing import Sharing
    from prune.engine.tracker import make_tracker
    from prune.engine.watch import Watcher

    log.info("run directory: %s", directory.path)
    with ExitStack() as stack:
        sharing = stack.enter_context(Sharing(config, directory.path.name, task.points))
        stack.enter_context(Heartbeat(lock.beat, sharing.beat, status.update))
        stack.enter_context(telling(partial(flag, status)))
        progress = find_progress(config, directory)
        sharing.begin(progress, status, stop)
        found = sharing.found
        threads = threads_for(config, status, found.threads if found else progress.threads)
        sharing.start = about_this_start(config, status, threads, found.start if found else None)
        status.start(sharing.start)
        job = prepare(config, directory, stop, threads, progress.files, sharing)
        stack.callback(job.loader.close)
        tracker = make_tracker(config, directory)
        watcher = stack.enter_context(Watcher(job, status, tracker, task.epoch_ended))
        outcome = "failed"
        try:
            Run(job, watcher, progress).execute(task.states)
            outcome = "done"
        except Preempted:
            outcome = "preempted"
            raise
        finally:
            tracker.finish(outcome)


def _sentence(problem: Exception, directory: RunDirectory) -> str | None:
    """What went wrong, for whoever can put it right; None for a fault of the program."""
    if isinstance(problem, UserError):
        return str(problem)
    words = in_words(problem, directory.path)
    if words is None:
        return None
    if disk_is_full(problem):
        return f"{words}; the last good checkpoint is kept, and the same command goes on from it once there is room."
    if memory_is_short(problem):
        return f"{words}; lower optim.batch_size, hardware.eval_batch_size or hardware.workers, or give the run more memory."
    if worker_was_killed(problem):
        return f"{words}; most often memory is short: lower hardware.workers, and the same command goes on."
    return f"{words}; the same command goes on once that is put right."


def _record(status: StatusFile, word: str, error: str | None, trace: str | None) -> None:
    try:
        status.update(status=word, error=error, traceback=trace)
    except OSError as problem:  # the very disk may be full; the log and the exit code still tell
        log.error("status.json could not be written (%s)", problem.strerror)
