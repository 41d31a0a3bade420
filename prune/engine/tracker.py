"""Where the lines of a run go besides its own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prune.config.schema import RunConfig
from prune.engine.watch import Tracker
from prune.rundir.directory import RunDirectory


class NoTracker:
    """`logger=none`: the files are all there is."""

    def epoch(self, line: dict[str, Any]) -> None:
        pass

    def state(self, line: dict[str, Any], folder: Path) -> None:
        pass

    def finish(self, status: str) -> None:
        pass


def make_tracker(config: RunConfig, directory: RunDirectory) -> Tracker:
    """The tracker that `logger` asks for."""
    if config.logger.name == "none":
        return NoTracker()
    from prune.tracking_wandb.tracker import make_tracker as make_wandb_tracker

    return make_wandb_tracker(config, directory)
