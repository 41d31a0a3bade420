"""Hydra launcher `prune`: starts the cells of a sweep as `hardware.launcher` says."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from omegaconf import DictConfig

ConfigStore.instance().store(
    group="hydra/launcher",
    name="prune",
    node={
        "_target_": "hydra_plugins.prune_launcher.launcher.PruneLauncher",
        "submitit_folder": "${hydra.sweep.dir}/jobs/%j",
    },
    provider="prune",
)


class PruneLauncher(BaseSubmititLauncher):
    """The submitit launcher, but every cell is validated before the first is submitted, and no failure hides another.

    One launcher serves inline, local and slurm: `hardware` is chosen by one config group, and Hydra lets a config group
    choose the launcher only where the primary config does not.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hand the sweeper, which composes every cell before it launches any, a loader that is quick at many cells."""
        from prune.sweep.composing import SweepLoader

        hydra_context.config_loader = SweepLoader(hydra_context.config_loader.get_search_path())
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Compose, validate, start and watch the cells; leaves with the exit code."""
        from prune.base.logs import setup_console
        from prune.sweep.entry import launch_cells

        setup_console()
        # Jobs are started from another working directory than this one.
        self.params["submitit_folder"] = str(Path(self.params["submitit_folder"]).absolute())
        sys.exit(launch_cells(self._compose, job_overrides, str(self.config.hydra.sweep.dir), self.executor))

    def _compose(self, overrides: Sequence[str]) -> Any:
        assert self.hydra_context is not None
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))

    def executor(self, cluster: str, **params: Any) -> Any:
        """A submitit executor for `cluster`; `params` are those of the submitit launcher's own configuration."""
        import submitit
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
        from omegaconf import OmegaConf

        shared = set(OmegaConf.structured(BaseQueueConf).keys())
        folder, timeouts = self.params["submitit_folder"], params.pop("max_num_timeout", 0)
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster, **{f"{cluster}_max_num_timeout": timeouts})
        executor.update_parameters(
            **{key if key in shared else f"{cluster}_{key}": value for key, value in params.items() if value is not None}
        )
        return executor
