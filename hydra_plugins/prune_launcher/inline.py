"""Hydra launcher `prune_inline`: the cells of a sweep one after the other, in this process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

ConfigStore.instance().store(
    group="hydra/launcher",
    name="prune_inline",
    node={"_target_": "hydra_plugins.prune_launcher.inline.InlineLauncher"},
    provider="prune",
)


class InlineLauncher(Launcher):
    """Validates every cell before the first one starts; runs all; prints the table; exits with 1 if any failed."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from prune.errors import UserError
        from prune.launching import complain, finish, read_config, run_in_turn
        from prune.logs import setup_console

        setup_console()
        cells: list[Any] = []
        for overrides in job_overrides:
            try:
                composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
                cells.append(read_config(composed))
            except UserError as error:
                sys.exit(complain(UserError(f"{' '.join(overrides)}: {error}")))
        sys.exit(finish(run_in_turn(cells)))
