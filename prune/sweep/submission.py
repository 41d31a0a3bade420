"""submission.json in a run's directory: which job it was given to, and where that job's own output is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from prune.base.files import read_json, write_json
from prune.rundir.directory import RunDirectory
from prune.rundir.status import now
from prune.sweep.slurm_queue import GONE, JobState, queue_states


@dataclass(frozen=True)
class Submission:
    """One submission of a run. Written by the launching process; the job itself never touches it.

    Attributes:
        executor: `slurm` or `local`.
        job_id: SLURM's job (or array task), or the process id of a local job's controller.
        output, errors: files with what the job's process printed.
        result: file that submitit writes when the job's function has returned.
        verdict: how the job ended, where the run itself could not write it down (killed, cancelled, node lost).
    """

    executor: str
    job_id: str
    output: str
    errors: str
    result: str
    submitted: str
    verdict: str | None = None

    @property
    def name(self) -> str:
        """The job, for a person: `job 7_0`, `process 4711`."""
        return f"{'job' if self.executor == 'slurm' else 'process'} {self.job_id}"


def read_submission(directory: RunDirectory) -> Submission | None:
    """The run's newest submission, if it was ever submitted."""
    content = read_json(directory.submission)
    return None if content is None else Submission(**content)


def write_submission(directory: RunDirectory, executor: str, job: object) -> Submission:
    """Note the submitit job that a run was given to."""
    paths = job.paths  # type: ignore[attr-defined]
    submission = Submission(
        executor=executor,
        job_id=str(job.job_id),  # type: ignore[attr-defined]
        output=str(paths.stdout),
        errors=str(paths.stderr),
        result=str(paths.result_pickle),
        submitted=now(),
    )
    write_json(directory.submission, asdict(submission))
    return submission


def write_verdict(directory: RunDirectory, verdict: str) -> None:
    """Note how the newest submission's job ended."""
    submission = read_submission(directory)
    if submission is not None:
        write_json(directory.submission, asdict(replace(submission, verdict=verdict)))


def slurm_jobs(directories: Iterable[RunDirectory]) -> dict[Path, JobState] | None:
    """The job of each run that was submitted to SLURM, `GONE` if SLURM no longer knows it; None without an answer."""
    submissions = ((directory.path, read_submission(directory)) for directory in directories)
    jobs = {path: found.job_id for path, found in submissions if found is not None and found.executor == "slurm"}
    states = queue_states(list(jobs.values()))
    return None if states is None else {path: states.get(job_id, GONE) for path, job_id in jobs.items()}


def log_of(directory: RunDirectory) -> Path | None:
    """Where to read what happened: the run's own log, else what its job printed; None if there is neither."""
    submission = read_submission(directory)
    candidates = [directory.log]
    if submission is not None:
        candidates += [Path(submission.errors), Path(submission.output)]
    return next((path for path in candidates if path.is_file() and path.stat().st_size), None)
