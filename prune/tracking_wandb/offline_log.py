"""Reads back a `.wandb` file: a LevelDB-style log (32 KiB blocks) of wandb's protobuf records."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768
_FILE_HEADER, _CHUNK_HEADER = 7, 7  # ":W&B", magic, version; checksum, length, type
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def chunks(data: bytes) -> Iterator[bytes]:
    """The log's whole records. What a kill cut short at the end, or left damaged, ends the iteration."""
    position, parts = _FILE_HEADER, b""
    while position + _CHUNK_HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < _CHUNK_HEADER:  # too little for a header: the writer padded the block
            position += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, position)
        body = data[position + _CHUNK_HEADER : position + _CHUNK_HEADER + length]
        if len(body) < length or zlib.crc32(bytes([kind]) + body) != checksum:
            return
        position += _CHUNK_HEADER + length
        if kind in (_FULL, _FIRST):
            parts = b""
        parts += body
        if kind in (_FULL, _LAST):
            yield parts


def records(path: Path) -> Iterator[Any]:
    """The file's `wandb_internal_pb2.Record`s, in order."""
    from wandb.proto import wandb_internal_pb2

    new: Any = vars(wandb_internal_pb2)["Record"]  # made at import time, so unknown to type checkers
    for chunk in chunks(path.read_bytes()):
        record = new()
        record.ParseFromString(chunk)
        yield record


def log_files(folder: Path) -> list[Path]:
    """All `.wandb` files below a run's wandb folder, oldest first: one for each time it was opened."""
    return sorted(folder.glob("*run-*/run-*.wandb"), key=lambda path: path.parent.name.split("run-", 1)[1])


def ended(path: Path) -> bool:
    """Whether the log was closed by the process that wrote it, rather than cut short by a kill."""
    return any(record.WhichOneof("record_type") == "exit" for record in records(path))


def last_step(folder: Path) -> int:
    """The largest step of the history in the `.wandb` files below `folder`; -1 if there is none."""
    steps = (
        record.history.step.num
        for path in log_files(folder)
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    )
    return max(steps, default=-1)
