"""A run's directory: its paths, and config.yaml. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prune.base.errors import UserError
from prune.base.files import sha256_of, write_text
from prune.rundir.format import FORMAT, check_format
from prune.rundir.shapes import CONFIG, misfit


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
    def dense(self) -> Path:
        """Which shared dense state the run's state 0 was taken from, if it was (see `prune.rundir.dense`)."""
        return self.path / "dense.json"

    @property
    def counts(self) -> Path:
        """The units by group that were taken from another run at first start (see `prune.rundir.counts`)."""
        return self.path / "counts.json"

    @property
    def facts(self) -> tuple[Path, ...]:
        """The small files that say what was found at first start."""
        return (self.data, self.weights, self.counts, self.dense)

    @property
    def checksums(self) -> Path:
        """The digests of a finished run's files."""
        return self.path / "checksums.json"

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
    def has_begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.last.exists() or self.previous.exists()

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

    @property
    def analysis(self) -> Path:
        """What `prune analyse` found (see `prune.rundir.analyses`)."""
        return self.path / "analysis"

    def run_memory(self, index: int) -> Path:
        """What the method remembered of the run when a state ended."""
        return self.state(index) / "run_memory.pt"

    def read_config(self) -> dict[str, Any]:
        """config.yaml, as plain sections.

        Raises:
            UserError: if it is missing, cannot be read, belongs to another run, or another version of this program wrote it.
        """
        try:
            content = yaml.safe_load(self.config.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{self.config} is missing.") from None
        except OSError as error:
            raise UserError(f"{self.config} cannot be read ({error.strerror}).") from None
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UserError(f"{self.config} is damaged: it is no YAML.") from None
        if not isinstance(content, dict) or not content:
            raise UserError(f"{self.config} is damaged: it holds no keys.")
        check_format(self.config, content.pop("format", None))
        owner, digest = content.pop("run", None), content.pop("sha256", None)
        if owner not in (None, self.path.name) and _NAMED_BY_US.search(self.path.name):
            raise UserError(f"{self.config} belongs to another run, {owner}.")
        problem = misfit(content, CONFIG)
        if problem is not None:
            raise UserError(f"{self.config} is damaged: {problem}.")
        if (owner, digest) != (None, None) and digest != _digest(content):
            raise UserError(f"{self.config} is damaged: its checksum does not match.")
        return content

    def check_format(self) -> None:
        """Raise `UserError` if another version of this program wrote what is here. A damaged config.yaml says nothing."""
        content: Any = None
        with suppress(OSError, yaml.YAMLError, ValueError, RecursionError):
            content = yaml.safe_load(self.config.read_bytes())
        if isinstance(content, dict) and content:
            check_format(self.config, content.get("format"))

    def check(self) -> None:
        """Before the run goes on: raise `UserError` if another version of this program wrote it, or a folder is in the way."""
        self.check_format()
        for folder in (self.path, self.checkpoints, self.path / "predictions", *self.checkpoints.glob("state_[0-9]*")):
            for path in folder.glob("*.*"):
                if path.suffix in _FILES and path.is_dir():
                    raise UserError(f"{path} is a folder where a file belongs; move it away.")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml: first the version of the run's files, the run's name, and a checksum of what follows."""
        about = {"format": FORMAT, "run": self.path.name, "sha256": _digest(config)}
        write_text(self.config, yaml.safe_dump({**about, **config}, sort_keys=False))


def cache_folder(outputs: str) -> Path:
    """Where decoded images are kept, for all sweeps below `outputs`. It may be removed while no run begins."""
    return Path(outputs) / ".cache"


def _digest(config: Mapping[str, Any]) -> str:
    return sha256_of(json.dumps(config, sort_keys=True, default=str))


_NAMED_BY_US = re.compile(r"-s\d+-[0-9a-f]{8}$")
"""A folder that the user renamed may hold any run."""

_FILES = (".json", ".jsonl", ".yaml", ".log", ".pt", ".safetensors", ".npz")
"""Suffixes of a run's own files."""
