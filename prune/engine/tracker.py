"""Where the lines of a run go besides its own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory
from prune.tracking_wandb.tracker import make_wandb_tracker


class Tracker(Protocol):
    """Receives the lines of metrics.jsonl and states.jsonl once they are on disk.

    No call raises, and only `finish` may take long.
    """

    def epoch(self, line: dict[str, Any]) -> None:
        """A line of metrics.jsonl was written."""

    def state(self, line: dict[str, Any], folder: Path) -> None:
        """A state is finished; `folder` holds its models and pruned.json."""

    def finish(self, status: str) -> None:
        """This start of the run ends: done | failed | preempted."""


class NoTracker:
    """The files are all there is."""

    def epoch(self, line: dict[str, Any]) -> None:
        pass

    def state(self, line: dict[str, Any], folder: Path) -> None:
        pass

    def finish(self, status: str) -> None:
        pass


def make_tracker(config: RunConfig, directory: RunDirectory) -> Tracker:
    """The tracker that `logger` asks for."""
    tracker = make_wandb_tracker(config, directory) if config.logger.name == "wandb" else None
    return tracker or NoTracker()
