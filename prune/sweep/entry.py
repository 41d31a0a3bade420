"""From Hydra's composed configuration to runs, and to the exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from prune.base.errors import UserError
from prune.base.logs import setup_console
from prune.config import RunConfig, parse
from prune.config.hardware import OF_ONE_RUN, HardwareConfig
from prune.config.secrets import SUBMISSION_ONLY, refuse_secrets
from prune.engine.cell import Outcome, Task, run_cell
from prune.engine.stop import Stop
from prune.rundir.counts import budgets_of
from prune.sweep.controls import check_typed, control_cells
from prune.sweep.estimate import Estimate
from prune.sweep.plan import in_turn, make_plan, print_plan
from prune.sweep.summary import print_failures, print_summary

PREEMPTED = 130
"""Exit code of a run that was asked to stop and can go on."""


def read_config(config: DictConfig) -> RunConfig:
    """Resolve and validate what Hydra composed.

    Raises:
        UserError: one sentence.
    """
    try:
        ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        typed: Any = OmegaConf.to_container(ours, resolve=False)
        refuse_secrets(typed)
        content: Any = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is missing; give {error.full_key}=VALUE.") from None
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: the configuration cannot be resolved ({str(error).splitlines()[0]}).") from None
    parsed = parse(content)
    budgets_of(parsed)  # raises where `method.counts` names no run that can be counted
    return parsed


def run_single(config: DictConfig) -> int:
    """`python launch.py …` without -m: run one cell in this process and return the exit code."""
    setup_console()
    try:
        parsed = read_config(config)
        if parsed.controls is not None:
            raise UserError(
                "controls are started by experiment=controls, with name=… and outputs=… of the sweep that they are of."
            )
        if parsed.plan:
            print_plan(make_plan([parsed]))
            _discard(HydraConfig.get().runtime.output_dir)
            return 0
    except UserError as error:
        return complain(error)
    return run_in_turn([(parsed, ())], Estimate([parsed]))


def launch_cells(
    compose: Callable[[Sequence[str]], DictConfig],
    matrix: Sequence[Sequence[str]],
    folder: str,
    executor: Callable[..., Any],
) -> int:
    """A sweep: validate every cell, show the plan, start the cells as `hardware.launcher` says; returns the exit code.

    Args:
        compose: one cell's overrides → what Hydra composes of them.
        matrix: each cell's overrides.
        folder: Hydra's own folder of this sweep; removed again if nothing was started.
        executor: makes a submitit executor (see the launcher plugin).
    """
    try:
        shared = set.intersection(*(set(overrides) for overrides in matrix))
        swept = {override for overrides in matrix for override in overrides} - shared
        configs = [cell for overrides in matrix for cell in _cells(_cell(compose, overrides, swept), overrides)]
        _check_one_place(configs)
        inline = configs[0].hardware.launcher == "inline"
        plan = make_plan(configs)
        if configs[0].plan or len(plan) > 1 or not inline:
            print_plan(plan)
        if configs[0].plan:
            _discard(folder)
            return 0
        if inline:
            return run_in_turn([(cell.config, cell.share.points) for cell in in_turn(plan)], Estimate.after(plan))
        from prune.sweep.dispatch import launch_sweep

        return launch_sweep(plan, executor)
    except UserError as error:
        _discard(folder)
        return complain(error)


def _check_one_place(configs: Sequence[RunConfig]) -> None:
    """A sweep is started as a whole: what says where and how must be the same in all its cells."""
    for key in HardwareConfig.model_fields:
        values = list(dict.fromkeys(str(getattr(config.hardware, key)) for config in configs))
        if len(values) > 1 and key not in OF_ONE_RUN:
            name = "hardware" if key == "launcher" else f"hardware.{key}"
            over = "" if name in SUBMISSION_ONLY else f" over {' and '.join(values)}"
            raise UserError(f"{name} cannot be swept{over}: choose one for the whole sweep.")


def _cell(compose: Callable[[Sequence[str]], DictConfig], overrides: Sequence[str], swept: set[str]) -> RunConfig:
    try:
        return read_config(compose(overrides))
    except UserError as error:
        # Name the cell by what tells it from the others.
        cell = " ".join(override for override in overrides if override in swept)
        raise UserError(f"{cell}: {error}" if cell else str(error)) from None


def _cells(config: RunConfig, overrides: Sequence[str]) -> list[RunConfig]:
    """The cell itself, or, where it asks for controls, those of the sweep's runs."""
    if config.controls is None:
        return [config]
    check_typed(overrides)
    return control_cells(config)


def _discard(folder: str) -> None:
    """Remove Hydra's folder of a launch that started nothing, and the parents that this leaves empty."""
    path = Path(folder)
    if path.is_dir() and {entry.name for entry in path.iterdir()} <= {"multirun.yaml", ".hydra"}:
        shutil.rmtree(path)
        for parent in list(path.parents)[:2]:  # .hydra_runs and the sweep's own folder
            if any(parent.iterdir()):
                return
            parent.rmdir()


def run_in_turn(cells: Sequence[tuple[RunConfig, Sequence[str]]], epoch_ended: Callable[[], None] | None = None) -> int:
    """Run cells one after the other and return the exit code.

    Args:
        cells: each with the rewind points that others want of the state 0 that they share with it.
        epoch_ended: called after each epoch of each.

    A failing cell never stops the others. Being asked to stop does, also in a cell's last moments or between two cells.
    """
    outcomes: list[Outcome] = []
    with Stop() as between:
        for config, points in cells:
            outcomes.append(run_cell(config, Task(points, epoch_ended=epoch_ended)))
            if outcomes[-1].signals or between.requested:
                break
    return finish(outcomes, left_out=len(cells) - len(outcomes))


def finish(outcomes: Sequence[Outcome], left_out: int = 0) -> int:
    """Print what happened to each cell; 0 if all are done, 130 if asked to stop before, 1 if any failed.

    Args:
        left_out: cells that were not begun.
    """
    print_summary([outcome.directory for outcome in outcomes])
    failed = [(outcome.directory, outcome.error or "failed") for outcome in outcomes if outcome.status == "failed"]
    if failed:
        print_failures(failed)
        return 1
    return PREEMPTED if left_out or any(outcome.status == "preempted" for outcome in outcomes) else 0


def complain(error: UserError) -> int:
    """One sentence on stderr; the exit code of bad input."""
    print(f"error: {error}", file=sys.stderr)
    return 1
