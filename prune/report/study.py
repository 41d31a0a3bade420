"""What was read: runs, the variants they are seeds of, and their numbers as two data frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from prune.architectures.shape import ViTShape
from prune.rundir.directory import RunRecord

ACCURACY = "test_accuracy_best"
"""The accuracy that tables and figures compare: on test, of the epoch that was best on validation."""

STATE_COLUMNS = (
    "rate", "heads_kept", "neurons_kept", "parameters", "macs", "val_accuracy_pruned", "val_accuracy_before_removal",
    "val_accuracy_after_removal", "marked_norm_ratio", "best_epoch", "val_accuracy_best", "val_accuracy_final",
    "test_accuracy_best", "test_accuracy_final", "seconds",
)  # fmt: skip

EPOCH_COLUMNS = (
    "lr", "penalty", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "parameters", "seconds", "images_per_second",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run. `key` (R1, R2, …) is how the report's tables refer to it."""

    key: str
    record: RunRecord
    settings: Mapping[str, Any]

    @property
    def path(self) -> Path:
        return self.record.directory.path

    @property
    def seed(self) -> int:
        return int(self.record.config["seed"])

    @property
    def planned_states(self) -> int:
        return int(self.record.config["schedule"]["states"])

    def planned_epochs(self, state: int) -> int:
        """Epochs that the configuration gives a state."""
        schedule = self.record.config["schedule"]
        first = schedule.get("epochs_first")
        return int(first if state == 0 and first is not None else schedule["epochs"])

    @cached_property
    def states_done(self) -> list[int]:
        """The states with a line in states.jsonl, ascending."""
        return sorted({int(line["state"]) for line in self.record.states})

    @property
    def complete(self) -> bool:
        return self.states_done == list(range(self.planned_states))

    @cached_property
    def shape(self) -> ViTShape | None:
        """The dense model's sizes; None where the configuration does not state them."""
        dataset = self.record.config["dataset"]
        try:
            model = self.record.config["model"]
            size = dataset["image_size"]
            height, width = (size, size) if isinstance(size, int) else size
            shape = ViTShape(
                image_size=(int(height), int(width)),
                patch_size=int(model["patch_size"]),
                channels=int(dataset.get("channels", 3)),
                classes=int(dataset.get("classes") or 0),
                embed_dim=int(model["embed_dim"]),
                depth=int(model["depth"]),
                num_heads=int(model["num_heads"]),
                mlp_hidden=int(model["embed_dim"] * model["mlp_ratio"]),
                class_token=bool(model.get("class_token", True)),
            )
        except (KeyError, TypeError, ValueError):
            return None
        return self._with_classes(shape) if shape.classes == 0 else shape

    def _with_classes(self, shape: ViTShape) -> ViTShape | None:
        # An image folder's classes are found in the data; state 0's recorded parameters tell how many there are.
        dense = next((line for line in self.record.states if line.get("state") == 0 and line.get("parameters")), None)
        if dense is None:
            return None
        classes = (dense["parameters"] - shape.parameters().total) // (shape.embed_dim + 1)
        return ViTShape(**{**vars(shape), "classes": int(classes)})


@dataclass(frozen=True)
class Variant:
    """Runs that are seeds of one configuration: a method on a dataset, with everything else equal."""

    dataset: str
    method: str
    label: str
    settings: Mapping[str, Any]
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @property
    def planned_states(self) -> int:
        return self.runs[0].planned_states

    @property
    def prunes(self) -> bool:
        """Whether any run of it ever removed a unit."""
        return any((line.get("rate") or 0) > 0 for run in self.runs for line in run.record.states)


@dataclass(frozen=True)
class Study:
    """Everything that was read.

    Attributes:
        sweeps: the folders that were given.
        variants: ordered by dataset, the baseline's method first.
        states: one row per finished state of a run: run, dataset, method, variant, seed, state and `STATE_COLUMNS`.
        epochs: one row per epoch of a run, likewise with `EPOCH_COLUMNS`, and `total_epoch`: epochs since the run began.
        duplicates: runs left out because another directory holds the same configuration and seed.
        unreadable: directory → why nothing could be read from it.
    """

    sweeps: tuple[Path, ...]
    variants: tuple[Variant, ...]
    states: pd.DataFrame
    epochs: pd.DataFrame
    duplicates: tuple[tuple[RunRecord, RunRecord], ...] = ()
    unreadable: Mapping[Path, str] = field(default_factory=dict)

    @property
    def runs(self) -> list[Run]:
        return [run for variant in self.variants for run in variant.runs]

    @property
    def datasets(self) -> list[str]:
        return sorted({variant.dataset for variant in self.variants})

    def of(self, dataset: str) -> list[Variant]:
        """The variants of one dataset, in order."""
        return [variant for variant in self.variants if variant.dataset == dataset]

    def by_seed(self, variant: Variant, column: str, state: int) -> dict[int, float]:
        """Seed → value of a column of `states`, for the runs that have one in that state."""
        return self._by_state.get((variant.dataset, variant.label, column), {}).get(state, {})

    def finished(self, variant: Variant, column: str = ACCURACY) -> list[int]:
        """The states in which at least one run of a variant has a value, ascending."""
        return sorted(self._by_state.get((variant.dataset, variant.label, column), {}))

    @cached_property
    def _by_state(self) -> dict[tuple[str, str, str], dict[int, dict[int, float]]]:
        table: dict[tuple[str, str, str], dict[int, dict[int, float]]] = {}
        for row in self.states.to_dict("records"):
            for column in STATE_COLUMNS:
                if pd.notna(row[column]):
                    place = table.setdefault((row["dataset"], row["variant"], column), {})
                    place.setdefault(int(row["state"]), {})[int(row["seed"])] = float(row[column])
        return table

    def epochs_of(self, variant: Variant) -> pd.DataFrame:
        """The rows of `epochs` of one variant."""
        return self.epochs[(self.epochs["dataset"] == variant.dataset) & (self.epochs["variant"] == variant.label)]
