"""Atomic writing and tolerant reading of small files."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from prune.base.errors import UserError

log = logging.getLogger(__name__)

NO_FOLDER_SYNC = (errno.EINVAL, errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENOTSUP)
"""How file systems say that a folder cannot be opened or synced."""


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Replace `path` by what `write` puts into the file it is given: wholly or not at all, also across a power cut.

    The bytes go to a temporary file in the same directory, which is synced and renamed. On failure (a full disk, say) the
    temporary file is removed, `path` is as before, and the error goes on to the caller. A kill leaves it to
    `remove_unfinished`.

    Raises:
        UserError: if there is a folder at `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, IsADirectoryError):
            raise UserError(f"{path} is a folder where a file belongs; move it away.") from None
        if isinstance(error, OSError):
            error.filename = str(path)  # the name that its reader knows
        raise
    sync_directory(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed processes left in `folder` and below. Only for who alone writes there."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make renames in `directory` durable. Where folders cannot be synced that is left to the file system, and noted once."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
        _note_no_folder_sync()


@lru_cache
def _note_no_folder_sync() -> None:
    log.info("this file system cannot sync folders: a power cut may undo the newest save, and a start then uses the one before")


def sha256_of(data: bytes | str) -> str:
    """The digest, in hexadecimal."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def sha256(path: Path) -> str:
    """The file's digest, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The file's value; None if it is missing, cannot be read or is not JSON. Its shape is for the caller to check."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def read_json_object(path: Path) -> dict[str, Any]:
    """The file's object; an empty one if it is missing, cannot be read or is none."""
    value = read_json(path)
    return value if isinstance(value, dict) else {}


def jsonl(lines: Iterable[dict[str, Any]]) -> str:
    """The text of a file of lines."""
    return "".join(json.dumps(line) + "\n" for line in lines)


def write_jsonl(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    write_text(path, jsonl(lines))


def append_jsonl(path: Path, line: dict[str, Any]) -> None:
    """Add one line; readers skip a last line that a crash cut short."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The file's lines, up to the first that is no whole JSON object; none if the file is missing or cannot be read."""
    return read_jsonl_lines(path)[0]


def read_jsonl_lines(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The lines up to the first that is no whole JSON object, and what is wrong with that one (`line 3 is no JSON object`).

    A missing file has no lines, and a last line that was cut short is passed over: a run may be writing it, or have been killed
    while it did. Neither is a fault.
    """
    result: list[dict[str, Any]] = []
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return result, None
    except OSError as error:
        return result, f"cannot be read ({error.strerror})"
    *whole, last = content.split(b"\n")
    for number, text in enumerate([*whole, last] if last else whole, 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict):
            return result, None if number > len(whole) else f"has no JSON object in line {number}"
        result.append(line)
    return result, None
