"""Finished runs that another version of this program made: they stay as they are, and the reader is told."""

from __future__ import annotations

from collections.abc import Mapping

from prune import __version__
from prune.rundir.reader import RunRecord

UNNAMED = "an earlier version"
"""Of a start that did not say its version yet."""


def other_version(run: RunRecord) -> str | None:
    """The version that finished a run, if it was not this one; None for runs that are not done."""
    starts = run.status.get("starts")
    if not run.done or not starts:
        return None
    version = str(starts[-1].get("version") or UNNAMED)
    return None if version == __version__ else version


def about_versions(found: Mapping[str, str]) -> str:
    """One paragraph about the runs (name → version) that another version finished; empty if there are none."""
    if not found:
        return ""
    runs = "1 finished run was" if len(found) == 1 else f"{len(found)} finished runs were"
    names = ", ".join(f"{name} ({version})" for name, version in found.items())
    return (
        f"{runs} made by another version of this program than this one ({__version__}): {names}. "
        f"What is finished stays as it is; to run it again, give the sweep another name (name=…) or delete its folder."
    )
