"""Runs as SLURM jobs in arrays, submitted by submitit."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.config.hardware import HardwareConfig
from prune.config.schema import RunConfig
from prune.rundir.dense import DenseDirectory
from prune.rundir.directory import RunDirectory
from prune.sweep.cell_job import CellJob
from prune.sweep.plan import PlannedCell
from prune.sweep.slurm_queue import GONE, JobState, how_it_ended, in_words
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

    def submit(self, cells: Sequence[PlannedCell]) -> None:
        """An array of the cells that wait for nothing; and where cells share a state 0 that is still to be trained, a job that
        trains it (in the run of the first of them, which its own job then goes on with) and an array of them that waits for it.

        They wait for its end, however it ends: whichever comes first then trains it after all.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        submitted: list[Any] = []
        try:
            trainers = [cell for cell in cells if cell.share.trained_by == cell.directory.path]
            stems = self._array(trainers, len(trainers), dense_only=True) if trainers else []
            submitted += stems
            groups = _by_job(cells, dict(zip((cell.directory.path for cell in trainers), stems, strict=True)))
            jobs: list[tuple[Any, PlannedCell]] = []
            for after, members in groups.items():
                found = self._array(members, len(cells), after)
                submitted += found
                jobs += zip(found, members, strict=True)
        except BaseException as error:  # Ctrl-C too: no job stays that nobody knows of
            for job in submitted:
                job.cancel(check=False)
            if not isinstance(error, (FailedJobError, FailedSubmissionError, OSError)):
                raise
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise UserError(f"hardware: sbatch refused the sweep ({last}).") from None
        for job, cell in zip(stems, trainers, strict=True):
            assert cell.share.directory is not None
            cell.share.directory.path.mkdir(parents=True, exist_ok=True)
            write_submission(cell.share.directory, "slurm", job)
        for job, cell in jobs:
            write_submission(cell.directory, "slurm", job)

    def _array(self, cells: Sequence[PlannedCell], among: int, after: str | None = None, dense_only: bool = False) -> list[Any]:
        """Submit cells as one array.

        Args:
            among: the number of cells among which `hardware.parallel` is divided.
            after: the job that they wait for.
            dense_only: train their state 0 only.
        """
        sweep, parallel = cells[0].config.name, max(1, self.hardware.parallel * len(cells) // among)
        executor = self.executor("slurm", **self.parameters(sweep, parallel, after))
        jobs: list[Any] = executor.submit_array(
            [CellJob(self._with_threads(cell), points=cell.share.points, dense_only=dense_only) for cell in cells]
        )
        return jobs

    def parameters(self, sweep: str, parallel: int | None = None, after: str | None = None) -> dict[str, Any]:
        """The submitit launcher's own parameters.

        Args:
            parallel: runs at the same time, if not `hardware.parallel`.
            after: the job after whose end the array begins.
        """
        hardware, code = self.hardware, shlex.quote(str(self.code))
        # The copy of the code comes last, so that nothing in `setup` gets in front of it. `python -m` looks into the
        # working directory before PYTHONPATH, so that has to be the copy as well.
        first = [f'export PYTHONPATH={code}"${{PYTHONPATH:+:$PYTHONPATH}}"', f"cd {code}"]
        flags: dict[str, Any] = {}
        for flag in hardware.sbatch:
            key, given, value = flag.removeprefix("--").partition("=")
            flags[key.replace("-", "_")] = value if given else True  # submitit's spelling; so a flag replaces its own
        if after is not None:
            flags["dependency"] = f"afterany:{after}"  # a dependency of the user's is the other job's
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
            "array_parallelism": parallel or hardware.parallel,
            "setup": [*hardware.setup, *first],
            # Clusters may forbid requeueing by default; without it a time limit would be the end.
            "additional_parameters": flags if "no_requeue" in flags else {"requeue": True, **flags},
        }

    def _with_threads(self, cell: PlannedCell) -> RunConfig:
        """As many CPU threads as cores, where that is not fixed by the user or by the run's first start."""
        config, hardware = cell.config, cell.config.hardware
        begun = cell.directory.has_begun or cell.begins_with_shared
        if hardware.threads is not None or hardware.cpus is None or begun:
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


def _by_job(cells: Sequence[PlannedCell], stems: Mapping[Path, Any]) -> dict[str | None, list[PlannedCell]]:
    """The cells by the job that trains their state 0 (None: they wait for no job).

    Args:
        stems: directory of a run that was just submitted to train one → the job.
    """
    others = [cell.share for cell in cells if cell.share.trained_by is not None and cell.share.trained_by not in stems]
    earlier = _earlier_jobs({share.directory for share in others if share.directory is not None})
    groups: dict[str | None, list[PlannedCell]] = {}
    for cell in cells:
        trainer, directory = cell.share.trained_by, cell.share.directory
        after = None
        if trainer is not None and directory is not None:
            after = str(stems[trainer].job_id) if trainer in stems else earlier.get(directory.path)
        groups.setdefault(after, []).append(cell)
    return groups


def _earlier_jobs(directories: Iterable[DenseDirectory]) -> dict[Path, str]:
    """The jobs, not over yet, that earlier commands have submitted to train these shared states; SLURM is asked once."""
    submissions = {directory: found for directory in directories if (found := read_submission(directory)) is not None}
    jobs = slurm_jobs(submissions) or {}
    return {at.path: found.job_id for at, found in submissions.items() if not jobs.get(at.path, GONE).over}
