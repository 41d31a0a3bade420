"""Worker processes that end when they are told to, and when the process that started them is gone."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import ClassVar
from weakref import WeakSet

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that ask a run to stop. They reach all its processes; the main one ends the step, for which it needs the others."""


class Leash:
    """Holds worker processes of one pool: a pipe whose other end each worker watches.

    The pipe closes when `release` is called, when this process ends, and when it is killed; workers then leave at once. So
    nothing has to be waited for, whoever still refers to the pool.
    """

    _held: ClassVar[WeakSet[Leash]] = WeakSet()

    def __init__(self) -> None:
        self._watched, self._hand = multiprocessing.Pipe(duplex=False)
        self._held.add(self)

    def release(self) -> None:
        """End the workers. More than once is as good as once."""
        self._hand.close()

    def follow(self, _: int) -> None:
        """In a worker, before its first task."""
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        # A forked worker has its own copy of each open pipe, which would hold that pool's workers as well.
        for leash in {self, *self._held}:
            leash._hand.close()
        threading.Thread(target=_leave_when_closed, args=(self._watched,), daemon=True).start()


def _leave_when_closed(pipe: Connection) -> None:
    with suppress(EOFError, OSError):
        pipe.recv_bytes()
    os._exit(0)


@contextmanager
def errors_wait_their_turn() -> Iterator[None]:
    """Around the start of a pool: keep the signal handler that torch installs there from staying.

    It raises in the main thread wherever that is, be it amid the writing of a checkpoint, when a worker is killed, and again
    for each worker that ends later. Without it, whoever waits for the next batch is told, five seconds later at most.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


@atexit.register
def _release_all() -> None:
    """Before multiprocessing waits for its processes, which it does at the end of this one."""
    for leash in set(Leash._held):
        leash.release()
