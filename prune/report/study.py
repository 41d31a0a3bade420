"""What was read: runs, the variants they are seeds of, and their numbers as two data frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from prune.report.columns import ACCURACY
from prune.report.run import Run, Variant, state_columns
from prune.report.statistics import fewest_images
from prune.rundir.predictions import read_correct
from prune.rundir.reader import RunRecord


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

    def epochs_in(self, run: Run, state: int) -> pd.DataFrame:
        """The rows of `epochs` of one state of one run."""
        return self._epochs_by_state.get((run.key, state), self.epochs.iloc[:0])

    @cached_property
    def _epochs_by_state(self) -> dict[tuple[str, int], pd.DataFrame]:
        return {(str(run), int(str(state))): rows for (run, state), rows in self.epochs.groupby(["run", "state"])}

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
