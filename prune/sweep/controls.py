"""The controls of a sweep's finished runs: the same run with random units, with fresh weights, or a small model from scratch.

Each control keeps as many units in each group, in each state, as its run did (`method.counts`), so that sizes are equal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from prune.base.errors import UserError
from prune.base.registries import METHODS
from prune.base.text import listed
from prune.config.checks import cross_check
from prune.config.schema import SCRATCH, Control, RunConfig
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
    pruning = [part for part in config.method.parts if part.prunes]
    if all(part.name == SCRATCH for part in pruning) or any(part.counts is not None for part in pruning):
        return []  # nothing is pruned, or it is a control itself
    if not run.done:
        log.warning("%s is not finished, so its controls are left out; the same command adds them once it is.", run.id)
        return []
    config = config.model_copy(update={key: getattr(launched, key) for key in ("outputs", "name", *OF_THE_LAUNCH)})
    methods = (_MAKE[kind](config.method, str(run.directory.path)) for kind in launched.controls or get_args(Control))
    cells = [config.with_method(method) for method in methods if method is not None]
    for cell in cells:
        cross_check(cell)
    return cells


def _random(method: CommonOptions, path: str) -> CommonOptions | None:
    """The same with `criterion: random`; None where it is that already, or a method has no criterion."""
    own = [part.name for part in method.parts if part.prunes and not isinstance(part, ScoredOptions)]
    if own:
        log.warning("%s scores units by no criterion, so there is no control with random ones", listed(own))
        return None
    return _changed(method, path, criterion="random")


def _reinit(method: CommonOptions, path: str) -> CommonOptions | None:
    """The same with `rewind: reinit`; None where it is that already."""
    return _changed(method, path, rewind="reinit")


def _scratch(method: CommonOptions, path: str) -> CommonOptions:
    """Small models of the same kinds of unit; the counts alone say how small."""
    parts = [part.targets for part in method.parts if part.prunes]
    targets = "all" if "all" in parts else list(dict.fromkeys(kind for kinds in parts for kind in kinds))
    options: CommonOptions = METHODS.load(SCRATCH).Options.model_validate({"name": SCRATCH, "targets": targets, "counts": path})
    return options


def _changed(method: CommonOptions, path: str, **keys: Any) -> CommonOptions | None:
    """With `counts` and other values of some keys, in all parts that prune; None if they are so already."""
    pruning = [part for part in method.parts if part.prunes]

    def change(part: MethodOptions) -> MethodOptions:
        return part.model_copy(update={**keys, "counts": path}) if part.prunes else part

    changes = any(getattr(part, key) != value for part in pruning for key, value in keys.items())
    return method.with_parts(change) if changes else None


_MAKE: dict[str, Callable[[CommonOptions, str], CommonOptions | None]] = {
    "random": _random,
    "reinit": _reinit,
    "scratch": _scratch,
}
