"""Being asked to stop: signals set a flag, and the run saves at the end of the step in progress."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from prune.base.errors import Preempted

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""A scheduler's end, Ctrl-C, a closed terminal, and schedulers' warnings before the time limit (submitit sets up USR2)."""


class Stop:
    """While entered, the first signal sets `requested`; a second Ctrl-C interrupts at once.

    `received` holds all that came: a scheduler may send SIGTERM and its own signal, in any order.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self.received: set[signal.Signals] = set()
        self._before: dict[int, object] = {}
        self._terminals = open_terminals()

    def __enter__(self) -> Stop:
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: it is to go on without its terminal
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raise `Preempted` if the run was asked to stop."""
        if self.requested is not None:
            raise Preempted(self.requested.name)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_closed(self._terminals)
        if self.requested is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received.add(signal.Signals(number))
        if self.requested is None:
            self.requested = signal.Signals(number)
            log.warning("%s: saving at the end of this step", self.requested.name)


def open_terminals() -> list[int]:
    """Which of standard output and standard error are terminals."""
    return [number for number in (1, 2) if os.isatty(number)]


def leave_closed(terminals: list[int]) -> None:
    """Write to nowhere from now on instead of to those of `terminals` that are gone: each line there would be an error."""
    closed = [number for number in terminals if not os.isatty(number)]
    if closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in closed:
            os.dup2(nowhere, number)
        os.close(nowhere)


@contextmanager
def ending_like_ctrl_c() -> Iterator[None]:
    """Within this context SIGTERM and a closed terminal raise KeyboardInterrupt, as Ctrl-C does."""
    terminals = open_terminals()

    def interrupt(number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_closed(terminals)
        raise KeyboardInterrupt

    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    numbers = (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
