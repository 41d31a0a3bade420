"""Runs as SLURM jobs, all in one array, submitted by submitit."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.config.hardware import HardwareConfig
from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory
from prune.sweep.cell_job import CellJob
from prune.sweep.slurm_queue import JobState, how_it_ended, in_words
from prune.sweep.submission import read_submission, slurm_jobs, write_submission


class SlurmBackend:
    """Submits and asks squeue; accounting is not needed.

    Args:
        executor: makes a submitit executor (see the launcher plugin).
        code: folder with the copy of the package that jobs run from.
    """

    poll_seconds = 6.0  # the controller serves many users

    def __init__(self, hardware: HardwareConfig, executor: Callable[..., Any], code: Path):
        self.hardware, self.executor, self.code = hardware, executor, code

    def check(self, runs: int) -> None:
        for command in ("sbatch", "srun", "squeue"):
            if shutil.which(command) is None:
                raise UserError(
                    f"hardware=slurm: {command} is not on the PATH; launch from a login node of the cluster, or use "
                    "hardware=local."
                )

    def submit(self, cells: Sequence[tuple[RunConfig, RunDirectory]]) -> None:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            executor = self.executor("slurm", **self.parameters(cells[0][0].name))
            jobs = executor.submit_array([CellJob(self._with_threads(config, run)) for config, run in cells])
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise UserError(f"hardware: sbatch refused the sweep ({last}).") from None
        for job, (_, directory) in zip(jobs, cells, strict=True):
            write_submission(directory, "slurm", job)

    def parameters(self, sweep: str) -> dict[str, Any]:
        """The submitit launcher's own parameters."""
        hardware, code = self.hardware, shlex.quote(str(self.code))
        # The copy of the code comes last, so that nothing in `setup` gets in front of it. `python -m` looks into the
        # working directory before PYTHONPATH, so that has to be the copy as well.
        first = [f'export PYTHONPATH={code}"${{PYTHONPATH:+:$PYTHONPATH}}"', f"cd {code}"]
        flags: dict[str, Any] = {}
        for flag in hardware.sbatch:
            key, given, value = flag.removeprefix("--").partition("=")
            flags[key.replace("-", "_")] = value if given else True  # submitit's spelling; so a flag replaces its own
        return {
            "name": f"prune-{sweep}",
            "partition": hardware.partition,
            "account": hardware.account,
            "qos": hardware.qos,
            "constraint": hardware.constraint,
            "exclude": hardware.exclude,
            "gpus_per_node": hardware.gpus or None,
            "cpus_per_task": hardware.cpus,
            "mem_gb": hardware.memory_gb,
            "timeout_min": hardware.time_minutes,
            "signal_delay_s": hardware.signal_seconds,
            "max_num_timeout": hardware.max_requeues,
            "array_parallelism": hardware.parallel,
            "setup": [*hardware.setup, *first],
            # Clusters may forbid requeueing by default; without it a time limit would be the end.
            "additional_parameters": flags if "no_requeue" in flags else {"requeue": True, **flags},
        }

    def _with_threads(self, config: RunConfig, directory: RunDirectory) -> RunConfig:
        """As many CPU threads as cores, where that is not fixed by the user or by the run's first start."""
        hardware = config.hardware
        if hardware.threads is not None or hardware.cpus is None or directory.has_begun:
            return config
        return config.model_copy(update={"hardware": hardware.model_copy(update={"threads": hardware.cpus})})

    def poll(self, directories: Sequence[RunDirectory]) -> dict[Path, JobState] | None:
        return slurm_jobs(directories)

    def verdict(self, directory: RunDirectory) -> str:
        submission = read_submission(directory)
        return in_words(how_it_ended(submission.job_id)) if submission is not None else "has no job"

    def not_started(self) -> list[RunDirectory]:
        return []

    def how_to_look(self, sweep: Path) -> str:
        return (
            f"Look at them with `python -m prune status {sweep} --watch`; `scancel JOB` stops one, and the same command as "
            "before watches them again and starts what is missing."
        )
