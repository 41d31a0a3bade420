"""How many units each group keeps by `method.counts`: as many as a finished run did. What is taken is stored at first start."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.base.files import read_json_object, sha256_of, write_json
from prune.config.schema import RunConfig
from prune.pruning.budget import StateBudget
from prune.pruning.options import MethodOptions
from prune.pruning.schedule import ScheduleOptions
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import counted, run_directory
from prune.rundir.reader import RunRecord, find_runs, is_run, read_run

log = logging.getLogger(__name__)

COMPARED = ("dataset", "model", "seed", "schedule")
"""What a run of a sweep's folder must have in common with the one that takes its counts."""


def budgets_of(
    config: RunConfig, directory: RunDirectory | None = None, structure: Structure | None = None, verify: bool = False
) -> list[StateBudget]:
    """The budgets of a configuration; where it takes counts from another run, with these.

    Args:
        directory: of the run that takes them; default: the one that the configuration has.
        structure: the dense model's, where the configuration alone does not tell it.
        verify: compare what is stored with the other run, where that can still be read.

    Raises:
        UserError: as `config.budgets` and `counts_of`.
    """
    structure = structure or config.architecture().structure
    counts = counts_of(config, directory or run_directory(config), structure, verify)
    return [_with_counts(config, state, budget, structure, counts) for state, budget in enumerate(config.budgets(structure))]


def _with_counts(
    config: RunConfig, state: int, budget: StateBudget, structure: Structure, counts: Mapping[str, Any]
) -> StateBudget:
    """The budget with the quotas that the method of its state takes from another run."""
    taken = config.method.in_state(state).counts
    if taken is None:
        return budget
    quotas = counts[taken][state]
    kept = structure.by_kind(quotas)
    kinds = {kind: replace(of_kind, kept=kept[kind]) for kind, of_kind in budget.kinds.items()}
    return replace(budget, kinds=kinds, quotas=quotas)


def counts_of(
    config: RunConfig, directory: RunDirectory, structure: Structure, verify: bool = False
) -> dict[str, list[dict[str, int]]]:
    """`method.counts` → for each state, group → units that stay; for each part of the method that has the key.

    What a run has begun with is stored in its directory and used again, be the other run still there or not.

    Raises:
        UserError: if there is no such run, more than one, it is not finished or is of another architecture, has no state of the
            rates that a state needs, or has changed since this run began.
    """
    stored: dict[str, Any] = read_json_object(directory.counts)
    found: dict[str, list[dict[str, int]]] = {}
    for part in config.method.parts:
        if part.counts is None:
            continue
        before = stored.get(os.path.realpath(part.counts))
        if before is None:
            found[part.counts] = _take(config, part, directory, structure)[1]
            continue
        found[part.counts] = before["groups"]
        if verify:
            _verify(config, part, directory, structure, before["groups"])
    return found


def remember_counts(config: RunConfig, directory: RunDirectory, structure: Structure) -> None:
    """Store what is taken, once."""
    parts = [part for part in config.method.parts if part.counts is not None]
    if not parts or directory.counts.exists():
        return
    content = {}
    for part in parts:
        source, groups = _take(config, part, directory, structure)
        content[os.path.realpath(str(part.counts))] = {"run": str(source), "sha256": _digest(groups), "groups": groups}
    write_json(directory.counts, content)


def _verify(config: RunConfig, part: MethodOptions, directory: RunDirectory, structure: Structure, stored: Any) -> None:
    try:
        _, groups = _take(config, part, directory, structure)
    except UserError as error:
        log.warning("%s Going on with the counts that were taken when this run began.", error)
        return
    if _digest(groups) != _digest(stored):
        raise UserError(
            f"method.counts={part.counts} keeps other numbers of units than when this run began; restore it, or set another "
            "name."
        )


def _digest(groups: Any) -> str:
    return sha256_of(json.dumps(groups, sort_keys=True))


def _take(config: RunConfig, part: MethodOptions, own: RunDirectory, structure: Structure) -> tuple[Path, list[dict[str, int]]]:
    """The run that `method.counts` means, and what its states kept, by the states of this run."""
    key, path = f"method.counts={part.counts}", Path(str(part.counts))
    if not path.is_dir():
        wrong = "no folder" if path.exists() else "not there"
        raise UserError(f"{key} is {wrong}; give a finished run's directory, or a sweep's folder.")
    run = read_run(path) if is_run(path) else _only_one(key, path, config, own)
    if not run.done:
        problem = run.problems[0] if run.problems else f"{len(run.states)} of {run.planned_states} states"
        raise UserError(f"{key}: {run.id} is not finished ({problem}); finish it first.")
    dense = structure.dense
    theirs = run.states[0].get("groups") or {}
    if theirs != dense:
        raise UserError(
            f"{key}: {run.id} is of another architecture; it has {_some(theirs)} where this model has {_some(dense)}."
        )
    if _rates(ScheduleOptions.model_validate(run.config["schedule"])) == _rates(config.schedule):
        return run.directory.path, [line["groups"] for line in run.states]
    states = enumerate(config.budgets(structure))
    return run.directory.path, [_state_like(key, run, state, budget) for state, budget in states]


def _only_one(key: str, folder: Path, config: RunConfig, own: RunDirectory) -> RunRecord:
    """The run of a sweep's folder with the same data, model, seed and schedule, whose numbers are its own."""
    wanted = _compared(config)
    found = []
    for run in find_runs(folder)[0]:
        try:
            other = RunConfig.model_validate(run.config)
        except (UserError, ValueError):
            continue  # of a package that is not installed here
        takes = any(part.counts is not None for part in other.method.parts)
        if run.directory.path != own.path and other.method.prunes and not takes and _compared(other) == wanted:
            found.append(run)
    if not found:
        raise UserError(
            f"{key} holds no run with this dataset, model, seed and schedule that prunes; give another folder, or a run."
        )
    if len(found) > 1:
        names = ", ".join(run.id for run in found)
        raise UserError(
            f"{key} holds {len(found)} runs with this dataset, model, seed and schedule; give one of them: {names}."
        )
    return found[0]


def _compared(config: RunConfig) -> dict[str, Any]:
    content = counted(config)
    return {key: content[key] for key in COMPARED}


def _rates(schedule: ScheduleOptions) -> dict[str, Any]:
    """What of a schedule says how much goes in each state."""
    return schedule.model_dump(exclude={"epochs", "epochs_first", "epochs_last"})


def _state_like(key: str, run: RunRecord, state: int, budget: StateBudget) -> dict[str, int]:
    """What a run of another schedule kept at the rates of a state: in the last of its states that has them."""

    def fits(line: Mapping[str, Any]) -> bool:
        rates = line.get("rates") or {}
        return rates.keys() == budget.rates.keys() and all(
            abs(rates[kind] - rate) < 1e-9 for kind, rate in budget.rates.items()
        )

    line = next((line for line in reversed(run.states) if fits(line)), None)
    if line is None:
        shown = ", ".join(f"{rate:.4g} of {kind}" for kind, rate in budget.rates.items())
        raise UserError(f"{key}: {run.id} has no state at the rates of state {state} ({shown}); the schedules must agree.")
    groups: dict[str, int] = line["groups"]
    return groups


def _some(groups: Mapping[str, int]) -> str:
    first = ", ".join(f"{units} units in {name}" for name, units in list(groups.items())[:2])
    return f"{first} and {len(groups) - 2} more groups" if len(groups) > 2 else first or "no groups"
