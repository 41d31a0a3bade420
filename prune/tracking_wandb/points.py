"""What a run looks like in W&B: its identity, its points and its summary, from its files alone. No wandb, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prune.base.files import read_json
from prune.base.text import dataset_label, flatten, ranges
from prune.rundir.directory import RunDirectory
from prune.rundir.epochs import epochs_of_states
from prune.rundir.identity import root_that_counts
from prune.rundir.reader import RunRecord

AXES = ("epoch", "state")
"""Metrics against which `epoch/…` and `state/…` are drawn: epochs finished in the whole run, and the state."""

UNIT_COLUMNS = ["kind", "block", "group", "of", "kept", "indices"]
"""Columns of a state's table of units: one row a group; `of` its units in the dense model, `indices` those kept, in short."""


@dataclass(frozen=True)
class RunIdentity:
    """What W&B calls a run. The same cell of the same sweep always has the same `id`: a requeued job goes on in it."""

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]


def identity(config: dict[str, Any], directory: RunDirectory) -> RunIdentity:
    """The W&B identity of the run in `directory`, whose resolved configuration is `config`."""
    sweep, run = str(config["name"]), directory.path.name
    return RunIdentity(
        id=hashlib.sha256(f"{sweep}/{run}".encode()).hexdigest()[:16],
        name=run,
        group=sweep,
        job_type=dataset_of(config),
        tags=(str(config["method"]["name"]), str(config["model"]["name"])),
    )


def axis_globs(config: dict[str, Any]) -> list[tuple[str, str]]:
    """(axis, pattern of the metrics drawn against it), for define_metric."""
    return [(axis, f"{prefix}{axis}/*") for axis in AXES for prefix in _prefixes(config)]


def dataset_of(config: dict[str, Any]) -> str:
    """The label of a configuration's dataset; with its folder's name where that chooses the images."""
    return dataset_label(str(config["dataset"]["name"]), root_that_counts(config["dataset"]))


@dataclass(frozen=True)
class Point:
    """One row of W&B's history.

    Attributes:
        step: epochs finished in the whole run, 0 only for a state 0 without epochs. No two points of a run share one.
        values: what to log; `epoch` or `state` among them is the axis of the metrics beside it.
        state: the state that ends with this point, if one does.
        units: rows of `UNIT_COLUMNS` of that state, if its pruned.json was there.
    """

    step: int
    values: dict[str, Any]
    state: int | None = None
    units: list[list[Any]] | None = None


@dataclass
class History:
    """The epochs and states of one run, and the points they make.

    A state's line belongs to the same point as its last epoch: a point is sent whole or not at all, so its step alone
    tells whether W&B has it. That last epoch therefore waits until the state's evaluation is written.
    """

    config: dict[str, Any]
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)
    states: dict[int, dict[str, Any]] = field(default_factory=dict)
    units: dict[int, list[list[Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, record: RunRecord) -> History:
        """What the run's files hold."""
        history = cls(record.config)
        for line in record.metrics:
            history.add_epoch(line)
        for line in record.states:
            history.add_state(line, unit_rows(record.directory.state(int(line["state"]))))
        return history

    def add_epoch(self, line: dict[str, Any]) -> None:
        """A line of metrics.jsonl. One that was there before (a replayed epoch) replaces it."""
        self.epochs[self._before(int(line["state"])) + int(line["epoch"]) + 1] = line

    def add_state(self, line: dict[str, Any], units: list[list[Any]] | None) -> None:
        """A line of states.jsonl and what `unit_rows` found in the folder of the state's models."""
        self.states[int(line["state"])] = line
        if units is not None:
            self.units[int(line["state"])] = units

    def points(self, first: int = 0) -> Iterator[Point]:
        """The complete points whose step is at least `first`, in order."""
        ends = {self._before(state + 1): state for state in range(self.config["schedule"]["states"])}
        finished = {
            step: state
            for step, state in ends.items()
            if state in self.states and (step in self.epochs or self._before(state) == step)
        }
        for step in sorted(self.epochs.keys() | finished.keys()):
            if step < first or (step in ends and step not in finished):
                continue
            state = finished.get(step)
            values = self._epoch_values(step) | ({} if state is None else self._state_values(state))
            yield Point(step, values, state, None if state is None else self.units.get(state))

    def summary(self) -> dict[str, dict[str, Any]]:
        """`state_XX` → that state's values, for W&B's summary."""
        return {f"state_{state:02d}": _measured(line) for state, line in sorted(self.states.items())}

    @cached_property
    def _epochs(self) -> tuple[int, ...]:
        return epochs_of_states(self.config)

    def _before(self, state: int) -> int:
        """Epochs of all states before this one."""
        return sum(self._epochs[:state])

    def _epoch_values(self, step: int) -> dict[str, Any]:
        if step not in self.epochs:
            return {}
        line = self.epochs[step]
        renamed = {"epoch_in_state" if key == "epoch" else key: value for key, value in line.items()}
        return {"epoch": step} | self._named("epoch", renamed)

    def _state_values(self, state: int) -> dict[str, Any]:
        line = self.states[state] | self._drop_and_recovery(state)
        return {"state": state} | self._named("state", {key: line[key] for key in line if key != "state"})

    def _named(self, axis: str, line: dict[str, Any]) -> dict[str, Any]:
        return {f"{prefix}{axis}/{key}": value for prefix in _prefixes(self.config) for key, value in _measured(line).items()}

    def _drop_and_recovery(self, state: int) -> dict[str, float]:
        """Change of validation accuracy, in percentage points, by pruning (negative: lost) and from there to the end."""
        line, before = self.states[state], self.states.get(state - 1, {})
        pruned, end, start = (
            line.get("val_accuracy_pruned"),
            line.get("val_accuracy_final"),
            before.get("val_accuracy_final"),
        )
        values = {}
        if pruned is not None and start is not None:
            values["drop"] = pruned - start
        if pruned is not None and end is not None:
            values["recovery"] = end - pruned
        return values


def unit_rows(folder: Path) -> list[list[Any]] | None:
    """Rows of `UNIT_COLUMNS`, one for each group, from `folder`/pruned.json; None if it is not there, or damaged."""
    try:
        return [
            [units["kind"], units["block"], name, units["units"], len(units["kept"]), ranges(units["kept"], "-", ",")]
            for name, units in read_json(folder / "pruned.json")["groups"].items()
        ]
    except (TypeError, KeyError, AttributeError, ValueError):
        return None


def _prefixes(config: dict[str, Any]) -> tuple[str, str]:
    # A panel of a saved view draws every run that has its metric and cannot choose among them. Under its dataset's name
    # a metric belongs to that dataset's runs only, which is what makes a section for each dataset possible.
    return "", f"{dataset_of(config)}/"


def _measured(line: dict[str, Any]) -> dict[str, Any]:
    """A line's values that are not null, one a name (`kept/heads`). What there is of each group is in the units table, or in
    the run's files alone."""
    flat = flatten({key: value for key, value in line.items() if key not in ("groups", "sensitivity")}, "/")
    return {key: value for key, value in flat.items() if value is not None}
