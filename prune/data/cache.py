"""The file of a folder's decoded images: made by one process for all, and believed only while its checksum is right."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL
import torch
from rich.console import Console
from rich.progress import track

from prune.base.errors import UserError
from prune.base.files import read_json_object, sha256, write_atomically, write_json
from prune.base.machine import cpu_count
from prune.base.text import printable
from prune.data.base import FileSplit
from prune.data.folder import ImageFolderOptions
from prune.data.streaming import Key, Stream

log = logging.getLogger(__name__)

BATCH = 256
"""Images decoded at a time."""

WORKERS = 8
"""Processes that decode, where there are so many cores and batches."""

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)
"""How file systems say that they cannot lock."""


@contextmanager
def decoded_images(paths: Sequence[Path], options: ImageFolderOptions, folder: Path) -> Iterator[np.ndarray]:
    """The images in the order of `paths`, uint8 (n, channels, height, width), memory-mapped; to be copied within this context.

    The file is known by the folder, the size and Pillow's version. It is made again where an image was added or removed or has
    another size or time of change than when it was decoded, and where its checksum is wrong. One process decodes; others wait
    for it. Many may check and copy at the same time.

    Args:
        folder: where the file is, or will be; made if it is missing.

    Raises:
        UserError: naming an image that cannot be decoded, or the room that is missing.
    """
    source = {
        "root": os.path.realpath(options.root),
        "size": list(options.size),
        "channels": options.channels,
        "pillow": PIL.__version__,
    }
    key = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:16]
    about = {**source, "images": len(paths), "content": _content(paths, options.root)}
    file = folder / f"images-{key}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        _take(lock, fcntl.LOCK_SH, options)
        if not _is_whole(file, about):
            _take(lock, fcntl.LOCK_EX, options)
            if not _is_whole(file, about):  # between the two locks somebody else may have built it
                _build(file, about, paths, options)
        yield np.load(file, mmap_mode="r")


def _content(paths: Sequence[Path], root: str) -> str:
    """A digest of which images there are, with their sizes and times of change."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            found = path.stat()
        except OSError as error:
            raise UserError(f"dataset.root: {printable(path)} cannot be read ({error.strerror}).") from None
        digest.update(os.fsencode(f"{os.path.relpath(path, root)}\0{found.st_size}\0{found.st_mtime_ns}\n"))
    return digest.hexdigest()


def _take(lock: IO[str], kind: int, options: ImageFolderOptions) -> None:
    """Lock the cache: shared for who reads, exclusive for who builds. Where nothing can be locked two may build the same."""
    try:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process, which uses the decoded images of %s", printable(options.root))
            fcntl.flock(lock, kind)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.info("%s cannot be locked (%s): should several runs start at once, each may decode", lock.name, error.strerror)


def _is_whole(file: Path, about: dict[str, Any]) -> bool:
    """Whether the cache is there, of these images, as it was written."""
    stored = read_json_object(_facts(file))
    if not file.is_file() or {name: stored.get(name) for name in about} != about:
        return False
    if sha256(file) == stored.get("sha256"):
        return True
    log.warning("%s is damaged: its checksum is not that of its images; decoding them again", file)
    return False


def _build(file: Path, about: dict[str, Any], paths: Sequence[Path], options: ImageFolderOptions) -> None:
    """Decode the images into the file. What was there before makes room first, also what a killed process left."""
    height, width = options.size
    shape = (len(paths), options.channels, height, width)
    for old in (_facts(file), file, *file.parent.glob(f".{file.name}.*.tmp")):
        if not old.is_dir():
            old.unlink(missing_ok=True)
    need, free = int(np.prod(shape)), shutil.disk_usage(file.parent).free
    if need > free:
        raise UserError(
            f"dataset.resident: the cache of decoded images takes {gigabytes(need)} GB and {file.parent} has "
            f"{gigabytes(free)} GB left; make room, or set dataset.resident=false to stream them."
        )
    log.info("decoding %d images once, into %s (%s GB)", len(paths), file, gigabytes(need))
    began, digest = time.monotonic(), hashlib.sha256()

    def write(out: IO[bytes]) -> None:
        header = io.BytesIO()
        np.lib.format.write_array_header_2_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for part in chain([header.getvalue()], _decoded(paths, options)):
            digest.update(part)
            out.write(part)

    write_atomically(file, write)
    write_json(_facts(file), {**about, "sha256": digest.hexdigest()})
    log.info("decoded %d images in %.1f s", len(paths), time.monotonic() - began)


def _decoded(paths: Sequence[Path], options: ImageFolderOptions) -> Iterator[bytes]:
    """All images in order, some at a time, by worker processes where there is work for several."""
    numbers: list[Key] = [(number, None) for number in range(len(paths))]
    batches = [numbers[at : at + BATCH] for at in range(0, len(numbers), BATCH)]
    workers = min(WORKERS, cpu_count(), len(batches)) if len(batches) > 1 else 0
    stream = Stream(FileSplit(list(paths), np.zeros(len(paths), dtype=np.int64)), options, workers, torch.device("cpu"))
    # A launcher reads what its helper says on standard error: there the bar goes to standard output.
    console = Console(stderr=sys.stderr.isatty())
    hidden = not (sys.stderr.isatty() or sys.stdout.isatty())
    try:
        for images, _ in track(
            stream.read(batches), "decoding images", len(batches), console=console, transient=True, disable=hidden
        ):
            yield images.numpy().tobytes()
    finally:
        stream.close()


def _facts(file: Path) -> Path:
    """Beside the file: what it was made of, and its checksum."""
    return file.with_suffix(".json")


def gigabytes(count: float) -> str:
    """As people read it: three digits."""
    return f"{count / 1e9:.3g}"
