"""What was read: runs, the variants they are seeds of, and their numbers as two data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prune.architectures.base import make_architecture
from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.base.files import read_json
from prune.report.statistics import fewest_images
from prune.rundir.predictions import read_correct
from prune.rundir.reader import RunRecord

ACCURACY = "test_accuracy_best"
"""The accuracy that tables and figures compare: on test, of the epoch that was best on validation."""

CHOOSING = "val_accuracy_best"
"""The accuracy by which anything is chosen or flagged: on validation."""

STATE_COLUMNS = (
    "rate", "parameters", "macs", "val_accuracy_pruned", "val_accuracy_before_removal", "val_accuracy_after_removal",
    "marked_norm_ratio", "best_epoch", "val_accuracy_best", "val_accuracy_final", "test_accuracy_best", "test_accuracy_final",
    "test_top5_best", "test_top5_final", "epochs_since_rewind", "training_flops", "seconds",
)  # fmt: skip
"""What every line of states.jsonl has, beside the units kept and what a method records of its own (`state_columns`)."""

ABOUT_COLUMNS = ("run", "dataset", "method", "variant", "seed", "directory", "state", "epoch", "flagged")
"""What else a row of `Study.states` or of its CSV has: a method's own column of such a name is called `recorded.…`."""

PRUNED_PARAMETERS = "pruned.parameters"
"""The column of `Study.states` with the fraction of all parameters that is gone."""

PRUNED_MACS = "pruned.macs"
"""The same of the multiply-accumulates of one image."""

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

    @cached_property
    def lines(self) -> dict[int, dict[str, Any]]:
        """State → its line of states.jsonl, ascending; of lines for the same state the last counts."""
        lines = {int(line["state"]): line for line in self.record.states}
        return dict(sorted(lines.items()))

    @property
    def states_done(self) -> list[int]:
        """The states with a line in states.jsonl, ascending."""
        return list(self.lines)

    @property
    def complete(self) -> bool:
        return self.states_done == list(range(self.record.planned_states))

    @property
    def kinds(self) -> list[str]:
        """The kinds of unit that its states count, in the order of the structure."""
        return list(dict.fromkeys(kind for line in self.lines.values() for kind in line.get("kept") or ()))

    @cached_property
    def dense_units(self) -> dict[str, int]:
        """Kind → units of the dense model; empty where neither its structure nor its state 0 tells them."""
        if self.structure is not None:
            return {kind: self.structure.units(kind) for kind in self.structure.kinds}
        return dict(self.lines.get(0, {}).get("kept") or {})

    def pruned(self, state: int) -> dict[str, float]:
        """Column → counted fraction that is gone in a state: of the units of each kind, of all parameters, of all MACs."""
        line = self.lines.get(state, {})
        found = {
            pruned_column(kind): 1 - kept / self.dense_units[kind]
            for kind, kept in (line.get("kept") or {}).items()
            if self.dense_units.get(kind)
        }
        for size, column in (("parameters", PRUNED_PARAMETERS), ("macs", PRUNED_MACS)):
            dense = self.lines.get(0, {}).get(size) if self.structure is None else getattr(self.structure, size)()
            if dense and line.get(size) is not None:
                found[column] = 1 - line[size] / dense
        return found

    @property
    def measure(self) -> str:
        """What its rates are fractions of: `units` of each kind, or the whole model's `parameters` or `macs`."""
        return str(self.record.config["schedule"].get("measure", "units"))

    def scheduled(self, state: int) -> dict[str, float]:
        """Kind → the rate that the schedule gives it in a state: 0 for one that is left alone. Empty for a rate of size."""
        if self.measure != "units":
            return {}
        line = self.lines.get(state, {})
        return line.get("rates") or dict.fromkeys(self.kinds, line.get("rate") or 0.0)

    def off_schedule(self, state: int) -> bool:
        """Whether some kind does not keep the whole number of units that is nearest to what its scheduled rate leaves."""
        kept, rates = self.lines.get(state, {}).get("kept") or {}, self.scheduled(state)
        return any(
            abs(kept[kind] - (1 - rates[kind]) * self.dense_units[kind]) > 0.5 + 1e-6
            for kind in kept
            if kind in self.dense_units and kind in rates
        )

    def recorded(self, state: int) -> dict[str, Any]:
        """Column → what the method itself recorded of a state."""
        return {
            f"recorded.{key}" if key in ABOUT_COLUMNS else key: value
            for key, value in self.lines.get(state, {}).items()
            if key not in STATE_COLUMNS and key != "state" and not isinstance(value, dict | list)
        }

    def epochs_done(self, state: int) -> int:
        """Epochs from the run's start to a state's end."""
        return sum(self.record.epochs_of(s) for s in range(state + 1))

    @cached_property
    def structure(self) -> Structure | None:
        """The dense model's units; None where config.yaml fits no family known here, or nothing tells the number of classes."""
        dataset = self.record.config["dataset"]
        try:
            classes = int(dataset.get("classes") or self._classes_found())
            model = self.record.config["model"]
            return make_architecture(model, dataset["image_size"], dataset["channels"], classes).structure
        except (UserError, KeyError, TypeError, ValueError):
            return None

    def _classes_found(self) -> int:
        """Classes of a folder of images, which only the data itself tells, as the run noted them."""
        directory = self.record.directory
        manifests = (read_json(directory.manifest(state)) for state in self.states_done)
        noted = next((content["data"] for content in manifests if content), None) or read_json(directory.data)
        return len(noted["classes"])

    def counts(self, state: int) -> Mapping[str, int] | None:
        """Group → units kept in a state; None where its line names other groups than the dense model has, or none."""
        found = self.lines.get(state, {}).get("groups") or {}
        return found if self.structure is not None and set(found) == set(self.structure.dense) else None


@dataclass(frozen=True)
class Variant:
    """Runs that are seeds of one configuration: a method on a dataset, with everything else equal.

    Attributes:
        control_of: the label of the variant whose counts its runs have taken; None where they have taken none, or of others.
    """

    dataset: str
    method: str
    label: str
    settings: Mapping[str, Any]
    runs: tuple[Run, ...]
    control_of: str | None = None

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @property
    def planned_states(self) -> int:
        return self.runs[0].record.planned_states

    @cached_property
    def structure(self) -> Structure | None:
        """The dense model's units, which all its runs share; None if no run tells them."""
        return next((run.structure for run in self.runs if run.structure is not None), None)

    @property
    def prunes(self) -> bool:
        """Whether any run of it ever removed a unit."""
        return any(fraction > 0 for run in self.runs for state in run.states_done for fraction in run.pruned(state).values())

    @property
    def rewinds(self) -> bool:
        """Whether any run of it ever returned to earlier weights, as its count of epochs since then tells."""
        return any(
            (line.get("epochs_since_rewind") or run.epochs_done(state)) < run.epochs_done(state)
            for run in self.runs
            for state, line in run.lines.items()
        )


def kinds_of(variants: Iterable[Variant]) -> list[str]:
    """Every kind of unit that some of the variants have, in the order in which they are met."""
    return list(dict.fromkeys(kind for variant in variants for run in variant.runs for kind in run.kinds))


def kept_column(kind: str) -> str:
    """The column of `Study.states` that counts the units kept of a kind."""
    return f"kept.{kind}"


def pruned_column(kind: str) -> str:
    """The column of `Study.states` with the fraction of a kind's units that is gone."""
    return f"pruned.{kind}"


def recorded_columns(variants: Iterable[Variant]) -> list[str]:
    """The columns of `Study.states` that methods recorded of their own, in the order in which they are met."""
    runs = [run for variant in variants for run in variant.runs]
    return list(dict.fromkeys(column for run in runs for state in run.states_done for column in run.recorded(state)))


def state_columns(variants: Iterable[Variant]) -> tuple[str, ...]:
    """The columns of `Study.states` that hold values: of every run, kept and pruned by kind, and the methods' own."""
    (rate, *others), variants = STATE_COLUMNS, list(variants)
    kinds = kinds_of(variants)
    pruned = [*map(pruned_column, kinds), PRUNED_PARAMETERS, PRUNED_MACS]
    return (rate, *map(kept_column, kinds), *pruned, *others, *recorded_columns(variants))


@dataclass(frozen=True)
class Study:
    """Everything that was read.

    Attributes:
        sweeps: the folders that were given.
        variants: ordered by dataset, the baseline's method first.
        states: one row per finished state of a run: run, dataset, method, variant, seed, state and `state_columns`.
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
        columns = [c for c in state_columns(self.variants) if pd.api.types.is_numeric_dtype(self.states[c])]
        for row in self.states.to_dict("records"):
            for column in columns:
                if pd.notna(row[column]):
                    place = table.setdefault((row["dataset"], row["variant"], column), {})
                    place.setdefault(int(row["state"]), {})[int(row["seed"])] = float(row[column])
        return table

    def epochs_of(self, variant: Variant) -> pd.DataFrame:
        """The rows of `epochs` of one variant."""
        return self._epochs_by_variant.get((variant.dataset, variant.label), self.epochs.iloc[:0])

    @cached_property
    def _epochs_by_variant(self) -> dict[tuple[str, str], pd.DataFrame]:
        return {(str(dataset), str(label)): rows for (dataset, label), rows in self.epochs.groupby(["dataset", "variant"])}

    def correct(self, run: Run, state: int) -> np.ndarray | None:
        """For each test image whether a state's model was right (bool).

        None where predictions/ has no readable file, or one that does not give the accuracy in states.jsonl.
        """
        if (run.key, state) not in self._correct:
            found, accuracy = read_correct(run.record.directory, state), run.lines.get(state, {}).get(ACCURACY)
            if found is None or len(found) < 2 or accuracy is None or not abs(100 * found.mean() - accuracy) < 1e-6:
                found = None
            self._correct[run.key, state] = found
        return self._correct[run.key, state]

    @cached_property
    def _correct(self) -> dict[tuple[str, int], np.ndarray | None]:
        return {}

    @cached_property
    def test_images(self) -> dict[str, int]:
        """Dataset → images in its test split, as some run's predictions tell, else the fewest that give all accuracies."""
        found = {}
        for dataset in self.datasets:
            runs = [run for variant in self.of(dataset) for run in variant.runs]
            told = (self.correct(run, state) for run in runs for state in run.states_done)
            first = next((right for right in told if right is not None), None)
            images = (
                len(first) if first is not None else fewest_images(self.states[self.states["dataset"] == dataset][ACCURACY])
            )
            if images is not None:
                found[dataset] = images
        return found
