"""From Hydra's composed configuration to runs, and to the exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from prune.cell import Outcome, run_cell
from prune.config import RunConfig, parse
from prune.errors import UserError
from prune.logs import setup_console
from prune.summary import print_summary

PREEMPTED = 130
"""Exit code of a run that was asked to stop and can go on."""


def read_config(config: DictConfig) -> RunConfig:
    """Resolve and validate what Hydra composed.

    Raises:
        UserError: one sentence.
    """
    try:
        ours = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        content: Any = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration cannot be resolved ({str(error).splitlines()[0]}).") from None
    return parse(content)


def run_single(config: DictConfig) -> int:
    """`python launch.py …` without -m: run one cell and return the exit code."""
    setup_console()
    try:
        parsed = read_config(config)
    except UserError as error:
        return complain(error)
    return finish([run_cell(parsed)])


def run_in_turn(configs: Sequence[RunConfig]) -> list[Outcome]:
    """Run cells one after the other. A failing cell never stops the others; being asked to stop does."""
    outcomes = []
    for config in configs:
        outcomes.append(run_cell(config))
        if outcomes[-1].status == "preempted":
            break
    return outcomes


def finish(outcomes: Sequence[Outcome]) -> int:
    """Print what happened to each cell; 0 if all are done, 130 if asked to stop, 1 if any failed."""
    print_summary([outcome.directory for outcome in outcomes])
    for outcome in outcomes:
        if outcome.status == "failed":
            print(f"error: {outcome.directory.path.name}: {outcome.error}", file=sys.stderr)
    if any(outcome.status == "failed" for outcome in outcomes):
        return 1
    return PREEMPTED if any(outcome.status == "preempted" for outcome in outcomes) else 0


def complain(error: UserError) -> int:
    """One sentence on stderr; the exit code of bad input."""
    print(f"error: {error}", file=sys.stderr)
    return 1
