"""A run as analyses see it: its configuration, its states' models and its validation data, each opened when it is needed."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import nn

from prune.analysis.images import Images
from prune.architectures.base import Architecture
from prune.base.errors import UserError
from prune.base.files import read_json_object, sha256_of
from prune.config.parse import problems
from prune.config.schema import RunConfig
from prune.data.base import DataFacts
from prune.data.loading import Loader
from prune.engine.loaders import load_data
from prune.pruning.keepset import KeepSet
from prune.rundir.analyses import model_digest
from prune.rundir.directory import RunDirectory
from prune.rundir.loading import load_state
from prune.rundir.locate import StateModel
from prune.rundir.reader import RunRecord

MODELS_HELD = 3
"""Models of a run that stay in memory: a state's, the one before and the dense one."""


@dataclass(frozen=True)
class Snapshot:
    """One model of a run.

    Attributes:
        state, which: of which state, and `best` or `final`.
        model: a plain library model in evaluation mode, on the device; no fast paths.
        keep: the units that it has.
    """

    state: int
    which: str
    model: nn.Module
    keep: KeepSet


class AnalysedRun:
    """One run.

    Args:
        record: as `prune.rundir.reader` reads it.
        device: to compute on.
        root: where the dataset's files are, if they moved since the run began.

    Raises:
        UserError: if its configuration is of another version, or names something of a package that is not installed here.
    """

    def __init__(self, record: RunRecord, device: torch.device, root: Path | None = None):
        self.record, self.device = record, device
        self.config = _config(record, root)
        self._held: OrderedDict[tuple[int, str], Snapshot] = OrderedDict()

    @property
    def directory(self) -> RunDirectory:
        return self.record.directory

    @property
    def finished(self) -> list[int]:
        """The states with a line in states.jsonl and a manifest, ascending."""
        states = sorted({int(line["state"]) for line in self.record.states})
        return [state for state in states if self.directory.manifest(state).is_file()]

    @cached_property
    def _data(self) -> tuple[Loader, DataFacts]:
        if not self.directory.data.is_file():
            raise UserError(f"{self.directory.data} is missing: without it nothing tells whether the data is still the run's.")
        try:
            return load_data(self.config, self.directory.data, self.device)
        except UserError as error:
            raise UserError(f"{error} If the dataset's files have moved, say where they are now: --root DIR.") from None

    def images(self, most: int | None) -> Images:
        """Validation images: at most so many, the same for every run on this data."""
        return Images(*self._data, most)

    @cached_property
    def architecture(self) -> Architecture:
        """The dense model's."""
        classes = read_json_object(self.directory.data).get("classes")
        return self.config.architecture(len(classes) if isinstance(classes, list) else None)

    def data_source(self) -> str:
        """A digest of all that says which images there are: the dataset's keys and what the run found in the data."""
        keys = self.config.dataset.model_dump(mode="json", exclude={"root", "augment"})
        return sha256_of(json.dumps([keys, read_json_object(self.directory.data)], sort_keys=True))

    def has(self, state: int, which: str) -> bool:
        """Whether a state's model is there and its manifest says what it must be."""
        file = StateModel(self.directory.state(state), which).file
        return file.is_file() and model_digest(self.directory, state, which) is not None

    def snapshot(self, state: int, which: str = "best") -> Snapshot:
        """One of the run's models, checked against its manifest.

        Raises:
            UserError: if it was removed (`checkpoint.keep`) or is damaged.
        """
        key = state, which
        if key not in self._held:
            model, manifest = load_state(StateModel(self.directory.state(state), which))
            keep = KeepSet.from_lists({name: list(group.kept) for name, group in manifest.groups.items()})
            self._held[key] = Snapshot(state, which, model.to(self.device), keep)
        self._held.move_to_end(key)
        while len(self._held) > MODELS_HELD:
            self._held.popitem(last=False)
        return self._held[key]

    def close(self) -> None:
        """Let go of models and data."""
        self._held.clear()
        if "_data" in self.__dict__:
            self._data[0].close()
            del self.__dict__["_data"]


def _config(record: RunRecord, root: Path | None) -> RunConfig:
    file = record.directory.config
    try:
        config = RunConfig.model_validate(record.config)
    except ValidationError as error:
        raise UserError(f"{file} is of another version: {'; '.join(problems(record.config, error.errors()))}.") from None
    except UserError as error:
        plugins = _plugins(record)
        needed = f" The run was made with {', '.join(plugins)}: install it here." if plugins else ""
        raise UserError(f"{file}: {error}{needed}") from None
    if root is None:
        return config
    return config.model_copy(update={"dataset": config.dataset.model_copy(update={"root": str(root)})})


def _plugins(record: RunRecord) -> list[str]:
    """Packages, with their versions, of what the run's configuration chose by name."""
    starts = [start for start in record.status.get("starts") or [] if isinstance(start, dict)]
    plugins = starts[-1].get("plugins") if starts else None
    return sorted(set(plugins.values())) if isinstance(plugins, dict) else []
