"""Atomic writing and tolerant reading of small files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Replace `path` by what `write` puts into the file it is given: wholly or not at all, also across a power cut.

    The bytes go to a temporary file in the same directory, which is synced and renamed. On failure (a full disk, say) the
    temporary file is removed, `path` is as before, and the error goes on to the caller. A kill leaves it to
    `remove_unfinished`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed processes left in `folder` and below. Only for who alone writes there."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make renames in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    """The file's value; None if it is missing or not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def write_jsonl(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def append_jsonl(path: Path, line: dict[str, Any]) -> None:
    """Add one line; readers skip a last line that a crash cut short."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The file's lines, up to the first that is not whole (a run may be writing, or have been killed while it did)."""
    result: list[dict[str, Any]] = []
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return result
    for line in text.splitlines():
        try:
            result.append(json.loads(line))
        except ValueError:
            break
    return result
