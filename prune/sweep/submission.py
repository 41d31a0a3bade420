"""submission.json in a run's directory: which job it was given to, and where that job's own output is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, cast

from prune.base.files import read_json, write_json
from prune.rundir.directory import RunDirectory
from prune.rundir.shapes import RESULT, SUBMISSION, misfit
from prune.rundir.status import now
from prune.sweep.slurm_queue import GONE, JobState, queue_states

JOBS = ".hydra_runs"
"""The folder of a sweep that holds what launches and jobs leave. Nothing elsewhere is taken for a job's."""

LAST_LINES = 50
"""Lines at the end of what a job printed, among which an exception is looked for."""

_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b")


@dataclass(frozen=True)
class Submission:
    """One submission of a run. Written by the launching process; the job itself never touches it.

    Attributes:
        executor: `slurm` or `local`.
        job_id: SLURM's job (or array task), or the process id of a local job's controller.
        output, errors: files with what the job's process printed.
        result: file with what the job's function came to, as JSON (see `CellJob`).
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


class Submitted(Protocol):
    """A run, or a shared dense state, that a job was submitted for."""

    @property
    def path(self) -> Path: ...

    @property
    def submission(self) -> Path: ...


def read_submission(directory: Submitted) -> Submission | None:
    """The run's newest submission; None if it was never submitted, or the note is damaged."""
    content = read_json(directory.submission)
    if misfit(content, SUBMISSION) is not None:
        return None
    return Submission(**{entry.name: content[entry.name] for entry in fields(Submission)})


def write_submission(directory: Submitted, executor: str, job: object) -> Submission:
    """Note the submitit job that a run, or a shared state 0, was given to."""
    paths = job.paths  # type: ignore[attr-defined]
    submission = Submission(
        executor=executor,
        job_id=str(job.job_id),  # type: ignore[attr-defined]
        output=str(paths.stdout),
        errors=str(paths.stderr),
        result=str(result_file(paths)),
        submitted=now(),
    )
    write_json(directory.submission, asdict(submission))
    return submission


def result_file(paths: Any) -> Path:
    """Where a job leaves its result, beside its other files. (Never read: the pickle that submitit makes of it.)

    Args:
        paths: submitit's `JobPaths`.
    """
    result: Path = paths.result_pickle
    return result.with_suffix(".json")


def read_result(directory: RunDirectory) -> str | None:
    """What kept the run's newest job from running it, as the job itself says; None if it says nothing.

    A job that could not even load the code leaves no result, only what Python printed.
    """
    submission = read_submission(directory)
    if submission is None:
        return None
    result = read_json(_of_the_sweep(directory, submission.result))
    if misfit(result, RESULT) is None and result["run"] == directory.path.name:
        return cast("str | None", result["error"])
    try:
        lines = _of_the_sweep(directory, submission.errors).read_text(errors="replace").splitlines()[-LAST_LINES:]
    except OSError:
        return None
    return next((line.strip() for line in reversed(lines) if _EXCEPTION.match(line)), None)


def _of_the_sweep(directory: RunDirectory, file: str) -> Path:
    """A file that a submission names, if it lies among the sweep's own files of jobs; else one that does not exist."""
    folder, path = (directory.path.parent / JOBS).resolve(), Path(file).resolve()
    return path if path.is_relative_to(folder) else folder / "none"


def write_verdict(directory: RunDirectory, verdict: str) -> None:
    """Note how the newest submission's job ended."""
    submission = read_submission(directory)
    if submission is not None:
        write_json(directory.submission, asdict(replace(submission, verdict=verdict)))


def slurm_jobs(directories: Iterable[Submitted]) -> dict[Path, JobState] | None:
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
        candidates += [_of_the_sweep(directory, file) for file in (submission.errors, submission.output)]
    return next((path for path in candidates if _has_text(path)), None)


def _has_text(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:  # jobs' own output is for whoever submitted them
        return False
