"""One run as a report sees it, and the variant that it is a seed of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from prune.architectures.base import make_architecture
from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.base.files import read_json
from prune.report.columns import (
    ABOUT_COLUMNS,
    PRUNED_MACS,
    PRUNED_PARAMETERS,
    STATE_COLUMNS,
    kept_column,
    pruned_column,
)
from prune.rundir.reader import RunRecord


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
