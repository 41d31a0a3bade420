"""Every state of every run as one data frame, for those who make their own figures. No torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prune.base.text import flatten
from prune.report.columns import kept_column, pruned_column
from prune.report.load import read_all
from prune.report.run import Run
from prune.report.variants import counted, dataset_of, differing_keys

log = logging.getLogger(__name__)

OWN_COLUMNS = ("dataset.name", "method.name")
"""Configuration keys that have a column anyway, under a shorter name."""

NO_COLUMNS = ("groups", "sensitivity")
"""What states.jsonl has beside what a table can use: the units kept, and curves of the loss, block by block."""


def results(*paths: str | Path) -> pd.DataFrame:
    """Every finished state of every run below some folders: a row each, ordered by data set, method, run and state.

    Args:
        paths: `outputs/<name>` folders of sweeps, or single run directories.

    Returns:
        Columns `run` (the directory's name), `dataset`, `method`, `seed`, `state`; every column of states.jsonl, with a column
        for each kind of unit (`kept.heads`, and as fraction of the dense model's `pruned.heads`), `pruned.parameters` and
        `pruned.macs`; one column for each configuration key that is not the same in all runs, by its dotted name;
        `state_0_of`, the run that trained its state 0; and `directory`. What a run does not have is missing (nan or None).
        Accuracies are in percent, fractions between 0 and 1.

    Raises:
        UserError: if a folder holds no runs, or none of them can be read.
    """
    records, unreadable = read_all([Path(path) for path in paths])
    for path, why in unreadable.items():
        log.warning("%s is left out: %s.", path, why)
    runs = [Run(record.id, record, counted(record.config)) for record in records]
    runs.sort(key=lambda run: (dataset_of(run.settings), run.settings["method.name"], run.key))
    varying = [key for key in differing_keys([run.settings for run in runs]) if key not in OWN_COLUMNS]
    rows = [_row(run, state, varying) for run in runs for state in run.states_done]
    return pd.DataFrame(rows, columns=_columns(runs, rows, varying))


def _row(run: Run, state: int, varying: Sequence[str]) -> dict[str, Any]:
    line = flatten({key: value for key, value in run.lines[state].items() if key not in NO_COLUMNS})
    settings = {key: _hashable(run.settings.get(key)) for key in varying}
    return line | run.recorded(state) | run.pruned(state) | settings | _about(run) | {"state": state}


def _about(run: Run) -> dict[str, Any]:
    return {
        "run": run.key,
        "dataset": dataset_of(run.settings),
        "method": run.settings["method.name"],
        "seed": run.seed,
        "directory": str(run.path),
        "state_0_of": run.record.state_0_of,
    }


def _hashable(value: Any) -> Any:
    """A list as a tuple, so that rows can be grouped by it."""
    return tuple(_hashable(item) for item in value) if isinstance(value, list | tuple) else value


def _columns(runs: Sequence[Run], rows: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> list[str]:
    """All columns: who it is, what is kept and gone, what was recorded, what is configured."""
    kinds = list(dict.fromkeys(kind for run in runs for kind in run.kinds))
    first = ["run", "dataset", "method", "seed", "state", "rate", *map(kept_column, kinds), *map(pruned_column, kinds)]
    last = [*varying, "state_0_of", "directory"]
    found = dict.fromkeys(column for row in rows for column in row)
    return list(dict.fromkeys([*first, *(column for column in found if column not in last), *last]))
