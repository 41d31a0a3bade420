"""What SLURM says about jobs, by squeue, scontrol and (only where there is accounting) sacct."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)

ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
    "REVOKED",
}  # fmt: skip
"""Job states after which nothing more happens. (A job that is being requeued is PENDING, REQUEUED or COMPLETING.)"""

STUCK = ("launch failed", "jobholdmaxrequeue", "dependencyneversatisfied")
"""Reasons for which a pending job will never start by itself."""


@dataclass(frozen=True)
class JobState:
    """A job at one moment. `reason` is why it waits, in SLURM's words."""

    state: str
    node: str = ""
    reason: str = ""

    @property
    def stuck(self) -> bool:
        reason = self.reason.replace("_", " ").lower()
        return self.state == "PENDING" and any(text in reason for text in STUCK)

    @property
    def over(self) -> bool:
        return self.state in ENDED or self.state == "GONE" or self.stuck


GONE = JobState("GONE")
"""Stands for a job that SLURM no longer knows."""


def queue_states(job_ids: Sequence[str]) -> dict[str, JobState] | None:
    """The state of each job that SLURM's controller still knows, ended ones included; None if it does not answer."""
    arrays = sorted({job_id.partition("_")[0] for job_id in job_ids})
    if not arrays:
        return {}
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={','.join(arrays)}", "--format=%i|%T|%N|%r"]
    answer = _ask(command)
    if answer is None:
        return None
    if answer.returncode != 0:
        # Asked for a single job that was purged from its memory, the controller answers with an error.
        return {} if "invalid job id" in answer.stderr.lower() else None
    states = {}
    for line in answer.stdout.splitlines():
        job_id, state, node, reason = [part.strip() for part in line.split("|", 3)]
        states[job_id] = JobState(state, node, "" if reason == "None" else reason)
    return {job_id: states[job_id] for job_id in job_ids if job_id in states}


def how_it_ended(job_id: str) -> JobState:
    """The last state of a job, with `reason` its exit code in words; `GONE` if SLURM no longer knows it."""
    answer = _ask(["scontrol", "--oneliner", "show", "job", job_id])
    if answer is not None and answer.returncode == 0:
        fields = dict(re.findall(r"(\w+)=(\S*)", answer.stdout))
        if "JobState" in fields:
            return JobState(fields["JobState"], fields.get("NodeList", ""), _exit(fields.get("ExitCode", "")))
    answer = _ask(
        ["sacct", "--noheader", "--parsable2", "--allocations", "--format=State,NodeList,ExitCode", f"--jobs={job_id}"]
    )
    if answer is not None and answer.returncode == 0 and answer.stdout.strip():
        state, node, code = answer.stdout.splitlines()[-1].split("|")
        return JobState(state.split()[0], node, _exit(code))
    return GONE


def in_words(job: JobState) -> str:
    """How a job ended, as the end of a sentence whose subject is the run."""
    if job.stuck:
        return f"waits in the queue for ever ({job.reason}); scancel the job and submit again"
    return {
        "CANCELLED": "was cancelled",
        "TIMEOUT": "reached its time limit before it had saved; raise hardware.signal_seconds",
        "OUT_OF_MEMORY": "was killed for using more memory than hardware.memory_gb",
        "NODE_FAIL": "lost its node",
        "PREEMPTED": "was preempted and not requeued",
        "DEADLINE": "passed its deadline",
        "BOOT_FAIL": "got a node that did not boot",
        "FAILED": f"was ended from outside ({job.reason or 'no exit code'})",
        "COMPLETED": "ended without a result",
        "GONE": "is no longer known to SLURM and left no result",
    }.get(job.state, f"ended as {job.state}")


def _exit(code: str) -> str:
    """SLURM's `exit:signal` in words. A shell reports a process killed by signal n as exit code 128+n."""
    status, _, signal = code.partition(":")
    number = int(signal) if signal.isdigit() and int(signal) else int(status) - 128 if status.isdigit() else 0
    if number > 0:
        return f"signal {number}" + (", as the kernel sends when memory runs out" if number == 9 else "")
    return f"exit code {status}" if status else ""


def _ask(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Run one of SLURM's commands; None if it is not installed or does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.debug("%s: %s", command[0], error)
        return None
