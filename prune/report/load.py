"""Run directories → a `Study`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from prune.base.errors import UserError
from prune.base.text import flatten
from prune.report.columns import EPOCH_COLUMNS
from prune.report.controls import control_labels, of_sources
from prune.report.run import Run, Variant, recorded_columns, state_columns
from prune.report.study import Study
from prune.report.variants import counted, dataset_of, group_key
from prune.rundir.reader import RunRecord, find_runs, read_run, run_folders


def load(sweeps: Sequence[Path], baseline: str) -> Study:
    """Read every run of some sweeps.

    Args:
        sweeps: `outputs/<name>` folders (or single run directories).
        baseline: the method to list first.

    Raises:
        UserError: if a folder holds no runs, or none of them could be read.
    """
    records, unreadable = read_all(sweeps)
    settings = of_sources(records, [counted(record.config) for record in records])
    groups: dict[str, list[int]] = {}
    for index, setting in enumerate(settings):
        groups.setdefault(group_key(setting), []).append(index)
    members = list(groups.values())
    names = control_labels([settings[indices[0]] for indices in members])
    named = [(dataset_of(settings[i[0]]), str(settings[i[0]]["method.name"]), name, of, i)
             for i, (name, of) in zip(members, names, strict=True)]  # fmt: skip
    named.sort(key=lambda item: (item[0], item[3] is not None, item[1] != baseline, item[1], item[2]))

    variants, duplicates, number = [], [], 0
    for dataset, method, label, source, indices in named:
        chosen, doubled = _one_per_seed([records[index] for index in indices])
        duplicates += doubled
        runs = []
        for record in chosen:
            number += 1
            runs.append(Run(f"R{number}", record, settings[indices[0]]))
        variants.append(Variant(dataset, method, label, settings[indices[0]], tuple(runs), source))
    return Study(
        sweeps=tuple(sweeps),
        variants=tuple(variants),
        states=_frame(variants, "states", state_columns(variants)),
        epochs=_epochs(variants),
        duplicates=tuple(duplicates),
        unreadable=unreadable,
    )


def read_all(sweeps: Sequence[Path]) -> tuple[list[RunRecord], dict[Path, str]]:
    """All runs, and the directories that could not be read: one broken file must not hide the other runs.

    Raises:
        UserError: if a folder holds no runs, or none of them could be read.
    """
    records: dict[Path, RunRecord] = {}
    unreadable: dict[Path, str] = {}
    for sweep in sweeps:
        folders = run_folders(sweep)
        if not folders:
            find_runs(sweep)  # raises, with one sentence for each way in which a folder can be wrong
        for folder in folders:
            try:
                record = read_run(folder)
                _check(record)
            except UserError as error:  # written by another version of this program
                unreadable[folder] = str(error).rstrip(".")
            except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
                unreadable[folder] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            else:
                records[folder.resolve()] = record
    if not records:
        first, why = next(iter(unreadable.items()))
        raise UserError(f"no run of {', '.join(map(str, sweeps))} could be read ({first.name}: {why}).")
    return list(records.values()), unreadable


def _check(record: RunRecord) -> None:
    """Raise if what every table needs is not there."""
    if not isinstance(record.config, dict):
        raise ValueError("config.yaml is empty or cut short")
    for section, key in (("dataset", "name"), ("method", "name"), ("schedule", "states"), ("schedule", "epochs")):
        if not isinstance(record.config.get(section), dict) or record.config[section].get(key) is None:
            raise ValueError(f"config.yaml lacks {section}.{key}")
    int(record.config["seed"])


def _one_per_seed(records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[tuple[RunRecord, RunRecord]]]:
    """One run per seed, the furthest; and the pairs (left out, used instead)."""
    best: dict[int, RunRecord] = {}
    doubled = []
    for record in records:
        seed = int(record.config["seed"])
        other = best.get(seed)
        if other is None:
            best[seed] = record
        elif _progress(record) > _progress(other):
            best[seed] = record
            doubled.append((other, record))
        else:
            doubled.append((record, other))
    return [best[seed] for seed in sorted(best)], doubled


def _progress(record: RunRecord) -> tuple[int, int]:
    return len(record.states), len(record.metrics)


def _frame(variants: Sequence[Variant], lines: str, columns: Sequence[str]) -> pd.DataFrame:
    """One row per line of all runs' `states` or `metrics`; of lines for the same state (and epoch) the last counts."""
    keys = ("state",) if lines == "states" else ("state", "epoch")
    rows = []
    for variant in variants:
        for run in variant.runs:
            about = {"run": run.key, "dataset": variant.dataset, "method": variant.method, "variant": variant.label,
                     "seed": run.seed, "directory": str(run.path)}  # fmt: skip
            kept = {tuple(int(line[key]) for key in keys): line for line in getattr(run.record, lines)}
            for position in sorted(kept):
                line = flatten(kept[position])
                if lines == "states":
                    line |= run.pruned(position[0]) | run.recorded(position[0])
                rows.append({**about, **dict(zip(keys, position, strict=True)), **{c: line.get(c) for c in columns}})
    names = ["run", "dataset", "method", "variant", "seed", "directory", *keys, *columns]
    frame = pd.DataFrame(rows, columns=names)
    own = recorded_columns(variants) if lines == "states" else []
    for column in columns:
        if column not in own or not any(isinstance(value, str | bool) for value in frame[column]):
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame


def _epochs(variants: Sequence[Variant]) -> pd.DataFrame:
    frame = _frame(variants, "metrics", EPOCH_COLUMNS)
    runs = {run.key: run for variant in variants for run in variant.runs}
    before: dict[tuple[str, int], int] = {}
    for key, state in frame[["run", "state"]].drop_duplicates().itertuples(index=False):
        before[key, state] = runs[key].record.epochs_before(state)
    offsets = [before[key, state] for key, state in zip(frame["run"], frame["state"], strict=True)]
    frame.insert(8, "total_epoch", pd.Series(offsets, index=frame.index, dtype="int64") + frame["epoch"].astype("int64"))
    return frame
