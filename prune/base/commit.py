"""Which version of this code runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

COMMIT_FILE = "commit.txt"
"""Beside a sweep's copy of this package: the commit that the copy was made from."""


def commit() -> str | None:
    """The git commit of this code, with `-dirty` if files differ from it; None outside a checkout."""
    here = Path(__file__).resolve().parent
    noted = here.parents[1] / COMMIT_FILE
    if noted.is_file():  # the copy may lie inside another checkout
        return noted.read_text().strip() or None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
