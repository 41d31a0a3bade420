"""The version of the files of a run. Files of another version are refused with one sentence, wherever they are met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prune.base.errors import UserError

FORMAT = 2
"""Of config.yaml (and so of the directory), of last.pt and of pruned.json. 0.1, which wrote 1, was never released."""


def check_format(path: Path, found: Any) -> None:
    """Raise `UserError` unless a file's `format` is ours. A file of 0.1 has none, or 1."""
    if found != FORMAT:
        raise UserError(
            f"{path} was written by another version of this program (format {1 if found is None else found}; this one reads "
            f"format {FORMAT}); read it with that version, or set another name to start afresh."
        )
