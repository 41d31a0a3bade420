"""A run's directory: its paths, and its files read back. No torch; works on a copied folder and while the run goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from prune.errors import UserError
from prune.files import read_json, read_jsonl
from prune.status import effective_status


@dataclass(frozen=True)
class RunDirectory:
    """`outputs/<name>/<dataset>-<method>-s<seed>-<id>`. No path inside a run is built anywhere else."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def states(self) -> Path:
        return self.path / "states.jsonl"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def log(self) -> Path:
        return self.path / "launch.log"

    @property
    def lock(self) -> Path:
        return self.path / "lock.json"

    @property
    def submission(self) -> Path:
        """Which job the run was given to, where it was (see `prune.sweep.submission`)."""
        return self.path / "submission.json"

    @property
    def data(self) -> Path:
        """What was found in the data at first start: fingerprint, classes, mean and std."""
        return self.path / "data.json"

    @property
    def weights(self) -> Path:
        """The digest of a local pretrained file, as it was at first start."""
        return self.path / "weights.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.pt"

    @property
    def previous(self) -> Path:
        return self.checkpoints / "last.previous.pt"

    @property
    def rewind(self) -> Path:
        return self.checkpoints / "rewind.safetensors"

    @property
    def wandb(self) -> Path:
        return self.path / "wandb"

    def state(self, index: int) -> Path:
        """Folder of one state's compact models."""
        return self.checkpoints / f"state_{index:02d}"


@dataclass(frozen=True)
class RunRecord:
    """One run as its files tell it.

    Attributes:
        directory: where it is.
        config: config.yaml.
        metrics: metrics.jsonl, a dictionary per epoch.
        states: states.jsonl, a dictionary per finished state.
        status: status.json, with `state` corrected to `lost` when a running process's heartbeat is stale.
    """

    directory: RunDirectory
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    states: list[dict[str, Any]]
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The directory's name, unique within a sweep."""
        return self.directory.path.name

    @cached_property
    def done(self) -> bool:
        return self.status.get("status") == "done"


def read_run(path: Path) -> RunRecord:
    """Read one run directory."""
    directory = RunDirectory(path)
    config = yaml.safe_load(directory.config.read_text())
    status = effective_status(read_json(directory.status) or {})
    return RunRecord(directory, config, read_jsonl(directory.metrics), read_jsonl(directory.states), status)


def find_runs(sweep: Path) -> list[RunRecord]:
    """All runs below a sweep's folder (`outputs/<name>`), or the one run that `sweep` itself is, ordered by name.

    Raises:
        UserError: if there is none.
    """
    if not sweep.is_dir():
        raise UserError(f"{sweep} is not a folder; give a sweep's folder such as outputs/main.")
    folders = [sweep] if (sweep / "config.yaml").is_file() else sorted(path.parent for path in sweep.glob("*/config.yaml"))
    folders = [folder for folder in folders if not folder.name.startswith(".")]
    if not folders:
        raise UserError(f"{sweep} holds no runs; give a sweep's folder such as outputs/main.")
    return [read_run(folder) for folder in folders]
