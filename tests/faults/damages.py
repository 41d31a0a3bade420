"""Ways in which a file can be damaged."""

from __future__ import annotations

import builtins
import io
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

Damage = Callable[[Path, Path, random.Random], None]
"""Damages a file, given the same file of another run of the sweep, and where to draw from."""


def truncate(path: Path, _: Path, draw: random.Random) -> None:
    data = path.read_bytes()
    _put(path, data[: draw.randrange(len(data)) if data else 0])


def flip(path: Path, _: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    _put(path, bytes(data))


def empty(path: Path, *_: Any) -> None:
    _put(path, b"")


def missing(path: Path, *_: Any) -> None:
    path.unlink()


def swapped(path: Path, other: Path, _: random.Random) -> None:
    if other.is_file():
        _put(path, other.read_bytes())
    else:
        path.unlink()


def a_list(path: Path, *_: Any) -> None:
    _put(path, b"[1]\n")


def an_empty_object(path: Path, *_: Any) -> None:
    _put(path, b"{}\n")


def no_text(path: Path, *_: Any) -> None:
    _put(path, b"\xff\xfe{\x00}\n" + path.read_bytes())


def another_key(path: Path, _: Path, draw: random.Random) -> None:
    """One key has another name."""
    parts = path.read_text().split('":') if path.suffix != ".yaml" else path.read_text().split(":")
    at = draw.randrange(len(parts) - 1) if len(parts) > 1 else 0
    parts[at] += "x"
    _put(path, ('":' if path.suffix != ".yaml" else ":").join(parts).encode())


def another_type(path: Path, _: Path, draw: random.Random) -> None:
    """One value is a list."""
    mark = ":" if path.suffix == ".yaml" else '":'
    parts = path.read_text().split(mark)
    at = draw.randrange(1, len(parts)) if len(parts) > 1 else 0
    value, comma, rest = parts[at].partition("\n" if path.suffix == ".yaml" else ",")
    parts[at] = f" [[{value}]]{comma}{rest}" if value.strip() else parts[at]
    _put(path, mark.join(parts).encode())


def dangling(path: Path, *_: Any) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere" / "at all")


def folder(path: Path, *_: Any) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("of a user's")


def unreadable(path: Path, *_: Any) -> None:
    path.chmod(0)  # see `refusing`: root may read it all the same


OF_ANY: dict[str, Damage] = {
    damage.__name__: damage for damage in (truncate, flip, empty, missing, swapped, dangling, folder, unreadable)
}
OF_TEXT: dict[str, Damage] = {
    damage.__name__: damage for damage in (a_list, an_empty_object, no_text, another_key, another_type)
}
TEXTS = (".json", ".jsonl", ".yaml")


def of(path: Path) -> dict[str, Damage]:
    """The damages that mean something for a file."""
    return OF_ANY | OF_TEXT if path.suffix in TEXTS else OF_ANY


@contextmanager
def refusing(path: Path | None) -> Iterator[None]:
    """Within this context nobody may open `path` for reading: what `chmod 0` does, unless one is root."""
    if path is None or os.geteuid() != 0:
        yield
        return
    real_open, real_os_open = io.open, os.open

    def refused(file: Any, mode: str) -> bool:
        return isinstance(file, str | os.PathLike) and os.fspath(file) == str(path) and "w" not in mode

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if refused(file, mode):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(file, mode, *args, **kwargs)

    def os_opened(file: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if refused(file, "w" if flags & os.O_CREAT else "r"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_os_open(file, flags, *args, **kwargs)

    with ExitStack() as stack:
        for module, function in ((io, opened), (builtins, opened), (os, os_opened)):
            stack.enter_context(mock.patch.object(module, "open", function))
        yield


def _put(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)
