"""Stop a run at each point where it touches the disk: kill it there, or let the disk be full from there on."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

CALLS = ("fsync", "replace", "rename", "link", "unlink", "mkdir")
"""Functions of `os` that are points: what changes a file system."""

ALL = ("write", *CALLS)


class Points:
    """Counts the points below a folder; at the one with the given number it acts.

    Args:
        folder: writes to files below it count.
        at: the number of the point to act at; None: only count.
        act: is told of a write's file and data.
        kinds: which points count.
    """

    def __init__(self, folder: Path, at: int | None, act: Callable[[Any, Any], None], kinds: Sequence[str] = ALL):
        self.folder, self.at, self.act, self.kinds = str(folder), at, act, kinds
        self.count, self.counts = 0, dict.fromkeys(kinds, 0)

    def reach(self, kind: str, file: Any = None, data: Any = None) -> None:
        """One more point."""
        if kind not in self.kinds:
            return
        number, self.count = self.count, self.count + 1
        self.counts[kind] += 1
        if self.at is not None and number >= self.at:
            self.act(file, data)

    @contextmanager
    def watched(self) -> Iterator[Points]:
        """Within this context the process's own calls are points."""
        real_open, real_write = io.open, os.write

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            stream = real_open(file, mode, *args, **kwargs)
            ours = isinstance(file, str | os.PathLike) and os.fspath(file).startswith(self.folder)
            return Watched(stream, self) if ours and set(mode) & set("wax+") else stream

        def written(descriptor: int, data: Any) -> int:
            if descriptor > 2 and os.path.realpath(f"/proc/self/fd/{descriptor}").startswith(self.folder):
                self.reach("write")
            return real_write(descriptor, data)

        def call(name: str) -> Any:
            real = getattr(os, name)

            def called(*args: Any, **kwargs: Any) -> Any:
                if name == "fsync" or any(os.fspath(path).startswith(self.folder) for path in args[:1]):
                    self.reach(name)
                return real(*args, **kwargs)

            return called

        with ExitStack() as stack:
            for module in (io, builtins):
                stack.enter_context(mock.patch.object(module, "open", opened))
            stack.enter_context(mock.patch.object(os, "write", written))
            for name in CALLS:
                stack.enter_context(mock.patch.object(os, name, call(name)))
            yield self


class Watched:
    """A file whose writes are points: the first, second, fourth, eighth, … since it was opened (torch writes hundreds)."""

    def __init__(self, stream: Any, points: Points):
        self._stream, self._points, self._writes = stream, points, 0

    def write(self, data: Any) -> Any:
        self._writes += 1
        if self._writes & (self._writes - 1) == 0:
            self._points.reach("write", self._stream, data)
        return self._stream.write(data)

    def __enter__(self) -> Watched:
        self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._stream.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def die(file: Any, data: Any) -> None:
    """Be killed; of what was being written a part has reached the disk."""
    if file is not None:
        file.write(data[: len(data) // 2])
        file.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def be_full(file: Any, data: Any) -> None:
    """The disk has no room, now and for good."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
