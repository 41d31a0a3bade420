"""The controls of a sweep's finished runs: the same run with random units, with fresh weights, or a small model from scratch.

Each control keeps as many units in each group, in each state, as its run did (`method.counts`), so that sizes are equal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prune.base.errors import UserError
from prune.base.registries import METHODS
from prune.config.checks import cross_check
from prune.config.schema import CONTROLS, RunConfig
from prune.pruning.options import CommonOptions, MethodOptions, ScoredOptions
from prune.rundir.reader import RunRecord, find_runs

log = logging.getLogger(__name__)

OF_THE_LAUNCH = ("hardware", "checkpoint", "logger", "plan", "share_dense")
"""What a control has from the command that starts it; all else is its run's."""

MAY_BE_TYPED = ("experiment", "name", "outputs", "controls", "hydra", *OF_THE_LAUNCH)


def check_typed(overrides: Sequence[str]) -> None:
    """Raise `UserError` where a command for controls sets what they have from their runs."""
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key.partition(".")[0].partition("/")[0] not in MAY_BE_TYPED:
            raise UserError(f"experiment=controls has {key} from the sweep's runs; leave out {override}.")


def control_cells(launched: RunConfig) -> list[RunConfig]:
    """The controls of all finished runs of the sweep that `name` and `outputs` say.

    Raises:
        UserError: if there is no such sweep, or no run that has controls.
    """
    folder = Path(launched.outputs) / launched.name
    runs, unreadable = find_runs(folder)
    for broken in unreadable:
        log.warning("%s has no controls: %s", broken.id, broken.why)
    found = [cell for run in runs for cell in _of_run(run, launched)]
    if not found:
        raise UserError(f"{folder} holds no finished run that prunes, so there is nothing to control.")
    return found


def _of_run(run: RunRecord, launched: RunConfig) -> list[RunConfig]:
    try:
        config = RunConfig.model_validate(run.config)
    except (UserError, ValidationError) as error:
        log.warning("%s has no controls: its configuration is not known here (%s)", run.id, str(error).splitlines()[0])
        return []
    if not config.method.prunes or any(part.counts is not None for part in config.method.parts):
        return []
    if not run.done:
        log.warning("%s is not finished, so its controls are left out; the same command adds them once it is.", run.id)
        return []
    place: dict[str, Any] = {"outputs": launched.outputs, "name": launched.name}
    config = config.model_copy(update=place | {key: getattr(launched, key) for key in OF_THE_LAUNCH if hasattr(launched, key)})
    methods = (_MAKE[kind](config.method, str(run.directory.path)) for kind in launched.controls or CONTROLS)
    cells = [config.with_method(method) for method in methods if method is not None]
    for cell in cells:
        cross_check(cell)
    return cells


def _random(method: CommonOptions, path: str) -> CommonOptions | None:
    """The same with `criterion: random`; None where it is that already, or scores by itself."""
    if not all(isinstance(part, ScoredOptions) for part in method.parts if part.prunes):
        log.warning("%s scores units by itself, so it has no control with random ones", method.name)
        return None
    return _changed(method, path, criterion="random")


def _reinit(method: CommonOptions, path: str) -> CommonOptions | None:
    """The same with `rewind: reinit`; None where it is that already."""
    return _changed(method, path, rewind="reinit")


def _scratch(method: CommonOptions, path: str) -> CommonOptions:
    last = method.parts[-1]
    options: CommonOptions = METHODS.load("scratch").Options.model_validate(
        {"name": "scratch", "targets": last.targets, "min_per_block": last.min_per_block, "counts": path}
    )
    return options


def _changed(method: CommonOptions, path: str, **keys: Any) -> CommonOptions | None:
    """With `counts` and other values of some keys, in all parts that have them; None if they are so already."""
    changes = [True for part in method.parts for key, value in keys.items() if getattr(part, key, value) != value]

    def change(part: MethodOptions) -> MethodOptions:
        known = {key: value for key, value in keys.items() if key in type(part).model_fields}
        return part.model_copy(update={**known, "counts": path}) if part.prunes else part

    return method.with_parts(change) if changes else None


_MAKE: dict[str, Callable[[CommonOptions, str], CommonOptions | None]] = {
    "random": _random,
    "reinit": _reinit,
    "scratch": _scratch,
}
