"""A run's directory: its paths, and its files read back. No torch; works on a copied folder and while the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import yaml

from prune.base.errors import UserError
from prune.base.files import read_json, read_jsonl, write_text
from prune.pruning.schedule import epochs_before, epochs_of, position
from prune.rundir.format import FORMAT, check_format
from prune.rundir.status import effective_status

log = logging.getLogger(__name__)


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

    def rewind(self, point: str) -> Path:
        """A rewind point (see `prune.rundir.rewind`)."""
        return self.checkpoints / f"rewind-{point}.safetensors"

    @property
    def wandb(self) -> Path:
        return self.path / "wandb"

    def state(self, index: int) -> Path:
        """Folder of one state's compact models."""
        return self.checkpoints / f"state_{index:02d}"

    def manifest(self, index: int) -> Path:
        """What one state's compact models are (see `prune.rundir.manifest`)."""
        return self.state(index) / "pruned.json"

    def predictions(self, index: int) -> Path:
        """What one state's best model predicts (see `prune.rundir.predictions`)."""
        return self.path / "predictions" / f"state_{index:02d}.npz"

    def run_memory(self, index: int) -> Path:
        """What the method remembered of the run when a state ended."""
        return self.state(index) / "run_memory.pt"

    def read_config(self) -> dict[str, Any]:
        """config.yaml, as plain sections.

        Raises:
            UserError: if another version of this program wrote it.
        """
        content = yaml.safe_load(self.config.read_text())
        if isinstance(content, dict):
            check_format(self.config, content.pop("format", None))
        return cast("dict[str, Any]", content)

    def check_format(self) -> None:
        """Raise `UserError` if another version of this program wrote what is here."""
        if self.config.is_file():
            self.read_config()

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml, with the version of the run's files first."""
        write_text(self.config, yaml.safe_dump({"format": FORMAT, **config}, sort_keys=False))


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

    @property
    def planned_states(self) -> int:
        return int(self.config["schedule"]["states"])

    @property
    def planned_epochs(self) -> int:
        """Epochs of all states."""
        return epochs_before(self.config["schedule"], self.planned_states)

    def epochs_of(self, state: int) -> int:
        """Epochs that the configuration gives a state."""
        return epochs_of(self.config["schedule"], state)

    @property
    def position(self) -> tuple[int, int]:
        """(state, epoch) of the epoch in progress, judged by the lines of metrics.jsonl."""
        return position(self.config["schedule"], len(self.metrics))

    @property
    def epochs_left(self) -> int:
        """Epochs that are still to be done."""
        return max(self.planned_epochs - len(self.metrics), 0)

    @cached_property
    def done(self) -> bool:
        return self.status.get("status") == "done"


def read_run(path: Path) -> RunRecord:
    """Read one run directory.

    Raises:
        UserError: if another version of this program wrote it.
    """
    directory = RunDirectory(path)
    config = directory.read_config()
    status = effective_status(read_json(directory.status) or {})
    return RunRecord(directory, config, read_jsonl(directory.metrics), read_jsonl(directory.states), status)


def find_runs(sweep: Path) -> list[RunRecord]:
    """All runs below a sweep's folder (`outputs/<name>`), or the one run that `sweep` itself is, ordered by name.

    Runs of another version of this program are left out, each with a warning, as long as there are others.

    Raises:
        UserError: if there is none, or none of this version.
    """
    if not sweep.is_dir():
        raise UserError(f"{sweep} is not a folder; give a sweep's folder such as outputs/main.")
    folders = run_folders(sweep)
    if not folders:
        raise UserError(f"{sweep} holds no runs; give a sweep's folder such as outputs/main.")
    runs, refused = read_runs(folders)
    if not runs:
        raise refused[0]
    for error in refused:
        log.warning("%s", error)
    return runs


def read_runs(folders: Iterable[Path]) -> tuple[list[RunRecord], list[UserError]]:
    """The runs of these directories, and for each that another version of this program wrote, the sentence that says so."""
    runs: list[RunRecord] = []
    refused: list[UserError] = []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except UserError as error:
            refused.append(error)
    return runs, refused


def run_folders(sweep: Path) -> list[Path]:
    """The run directories below a sweep's folder, or the one that `sweep` itself is, ordered by name."""
    folders = [sweep] if (sweep / "config.yaml").is_file() else sorted(path.parent for path in sweep.glob("*/config.yaml"))
    return [folder for folder in folders if not folder.name.startswith(".")]
