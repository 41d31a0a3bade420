"""A copy of this package for jobs to run from, so that edits made while they wait do not reach them."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import uuid
from itertools import chain, count
from pathlib import Path

import prune
from prune.base.commit import COMMIT_FILE, commit
from prune.base.errors import UserError

log = logging.getLogger(__name__)

PACKAGE = Path(prune.__file__).resolve().parent


def take_snapshot(sweep: Path) -> Path:
    """Copy the package to `<sweep>/.code/<digest of its files>/prune`; returns the folder to put first on PYTHONPATH.

    Submissions of the same code share one copy, which is compared with the code each time: if a file is missing or differs,
    a new copy is made beside it (`<digest>-1`), for jobs may be running from the old one.
    """
    version = commit() or ""
    digest = _digest(PACKAGE, version)
    first = sweep / ".code" / digest[:12]
    names = chain([first], (first.with_name(f"{first.name}-{number}") for number in count(1)))
    for target in names:
        if not os.path.lexists(target):
            break
        if _is_whole(target, digest):
            return target
        log.warning("%s is not the code that was copied there; copying it again", target)
    _copy(target, version)
    if not _is_whole(target, digest):
        raise UserError(f"{PACKAGE} changed while it was copied to {target}; give the command again.")
    return target


def _copy(target: Path, version: str) -> None:
    """Make a copy, unless another submission is quicker."""
    fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        for path in _files(PACKAGE):
            copy = fresh / "prune" / path.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        (fresh / COMMIT_FILE).write_text(version)
        os.rename(fresh, target)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if not target.is_dir():
            raise UserError(f"outputs: the code could not be copied to {target} ({error.strerror}).") from None


def _is_whole(copy: Path, digest: str) -> bool:
    """Whether a copy holds the files that its name stands for, and no others."""
    try:
        return _digest(copy / "prune", (copy / COMMIT_FILE).read_text()) == digest
    except (OSError, ValueError):
        return False


def _digest(package: Path, version: str) -> str:
    """Of the names and contents of a package's files, and of the commit."""
    digest = hashlib.sha256()
    for path in _files(package):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    digest.update(version.encode())
    return digest.hexdigest()


def _files(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
