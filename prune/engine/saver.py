"""When and how last.pt is written while a run trains: spaced so that it costs little, and beside training on a GPU."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import fields
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor

from prune.base.errors import Preempted
from prune.rundir.checkpoint import Progress, save_last
from prune.rundir.directory import RunDirectory

log = logging.getLogger(__name__)

SHARE = 0.02
"""Of the time, what saving may take with `checkpoint.every_seconds=auto`."""

IN_BACKGROUND = ("cuda",)
"""Devices whose runs save beside training. The copy that it takes lies in memory that they do not train in."""


class Saver:
    """Writes last.pt. Use as a context: at its end no save is in flight, however it ends.

    Args:
        directory: of the run.
        spacing: least seconds between two saves at the ends of epochs, or `auto`: so long that they cost 2 % of the time.
        device: what the run computes on.
    """

    def __init__(self, directory: RunDirectory, spacing: float | Literal["auto"], device: torch.device):
        self.directory, self.spacing = directory, spacing
        self._background = device.type in IN_BACKGROUND
        self._saved = time.monotonic()
        self._cost = 0.0  # seconds that the last save at an epoch's end took from training; the first is made to know
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.wait()
        except Exception as problem:
            if error is None or isinstance(error, Preempted):  # a run that stops must have saved
                raise
            log.error("last.pt was not written either (%s: %s)", type(problem).__name__, problem)

    def due(self) -> bool:
        """Whether enough time has passed for the next save at an epoch's end."""
        if self.spacing == "auto" and self._writer is not None and self._writer.is_alive():
            return False  # what that save costs is not known yet
        spacing = self._cost * (1 / SHARE - 1) if self.spacing == "auto" else self.spacing
        return time.monotonic() - self._saved >= spacing

    def save(self, progress: Progress) -> None:
        """Save at an epoch's end: beside training, if the device is one for that. One save is in flight at a time.

        Raises:
            OSError: if this save or the one before failed.
        """
        self.wait()
        began = time.monotonic()
        copy = snapshot(progress) if self._background else None
        if copy is None:
            save_last(self.directory, progress)
        self._saved = time.monotonic()
        self._cost = self._saved - began
        if copy is not None:
            self._writer = threading.Thread(target=self._write_beside, args=(copy,), name="last.pt")
            self._writer.start()

    def write(self, progress: Progress) -> None:
        """Save now, and wait until it is durable. What that costs is no measure for saves at epochs' ends: it may hold less."""
        self.wait()
        save_last(self.directory, progress)
        self._saved = time.monotonic()

    def wait(self) -> None:
        """Until no save is in flight.

        Raises:
            OSError: if the last one failed.
        """
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        self.check()

    def check(self) -> None:
        """Raise the error of a save that failed meanwhile; once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _write_beside(self, progress: Progress) -> None:
        began = time.thread_time()
        try:
            save_last(self.directory, progress)
        except BaseException as error:
            self._failure = error  # for the main thread, at its next step
        # What this thread computes, a training thread may have to wait for; the disk it waits for alone.
        self._cost += time.thread_time() - began


def snapshot(progress: Progress) -> Progress:
    """A copy on the host that training does not change; of a GPU's tensors in pinned memory, for all of which it waits once."""
    copy = Progress(**{entry.name: _copied(getattr(progress, entry.name)) for entry in fields(Progress)})
    if torch.cuda.is_initialized():
        torch.cuda.current_stream().synchronize()
    return copy


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.device.type == "cpu":
            return value.detach().clone()
        return torch.empty_like(value, device="cpu", pin_memory=True).copy_(value.detach(), non_blocking=True)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value
