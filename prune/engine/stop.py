"""Being asked to stop: signals set a flag, and the run saves at the end of the step in progress."""

from __future__ import annotations

import logging
import signal
from types import FrameType, TracebackType

from prune.base.errors import Preempted

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""Scheduler's end, Ctrl-C, and SLURM's warning before the time limit as submitit sets it up."""


class Stop:
    """While entered, the first signal sets `requested`; a second Ctrl-C interrupts at once.

    `received` holds all that came: a scheduler may send SIGTERM and its own signal, in any order.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self.received: set[signal.Signals] = set()
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        for number in SIGNALS:
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
        if self.requested is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received.add(signal.Signals(number))
        if self.requested is None:
            self.requested = signal.Signals(number)
            log.warning("%s: saving at the end of this step", self.requested.name)
