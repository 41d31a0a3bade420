"""A copy of this package for jobs to run from, so that edits made while they wait do not reach them."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from pathlib import Path

import prune
from prune.base.commit import COMMIT_FILE, commit
from prune.base.errors import UserError

PACKAGE = Path(prune.__file__).resolve().parent


def take_snapshot(sweep: Path) -> Path:
    """Copy the package to `<sweep>/.code/<digest of its files>/prune`; returns the folder to put first on PYTHONPATH.

    Submissions of the same code share one copy.
    """
    files = sorted(path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    version = commit() or ""
    digest.update(version.encode())
    target = sweep / ".code" / digest.hexdigest()[:12]
    if target.is_dir():
        return target
    fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        for path in files:
            copy = fresh / "prune" / path.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        (fresh / COMMIT_FILE).write_text(version)
        os.rename(fresh, target)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if target.is_dir():  # another submission was quicker
            return target
        raise UserError(f"outputs: the code could not be copied to {target} ({error.strerror}).") from None
    return target
