"""What a submitted job runs: one cell; and what it does when the scheduler wants the node back."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from prune.base.files import read_json_object, write_json
from prune.base.logs import setup_console
from prune.config.schema import RunConfig
from prune.engine.cell import Outcome, Task, run_cell
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.rundir.lock import RunLock
from prune.rundir.status import StatusFile
from prune.sweep.submission import result_file

log = logging.getLogger(__name__)

OFFLINE = {"PRUNE_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
"""Jobs never download: what they need was fetched before they were submitted, and compute nodes have no network."""


class CellJob:
    """A cell as submitit pickles it: plain values only, so that nothing but this class is looked up in the job.

    Args:
        config: the validated configuration.
        environment: variables to set before torch is imported.
        own_session: leave the terminal's process group, so that Ctrl-C there reaches the launching process only.
        points: the rewind points that others want of the state 0 that they share with the cell.
        dense_only: train state 0 only; the cell has another job as well, which comes after this one.
    """

    def __init__(
        self,
        config: RunConfig,
        environment: Mapping[str, str] = OFFLINE,
        own_session: bool = False,
        points: Sequence[str] = (),
        dense_only: bool = False,
    ):
        self.config = config.model_dump(mode="json")
        self.environment = dict(environment)
        self.own_session = own_session
        self.points, self.dense_only = tuple(points), dense_only

    def __call__(self) -> dict[str, Any]:
        os.environ.update(self.environment)
        if self.own_session:
            os.setsid()
        setup_console()
        config = RunConfig.model_validate(self.config)
        name = run_directory(config).path.name
        try:
            outcome = run_cell(config, Task(self.points, self.dense_only))
            # SIGTERM alone means that the scheduler has decided what comes next: scancel, or scontrol requeue.
            if outcome.status == "preempted" and signal.SIGUSR2 in outcome.signals:
                outcome = self._requeue(outcome)
        except Exception as error:
            _leave_result({"run": name, "status": "failed", "error": f"{type(error).__name__}: {error}"})
            raise
        result = {"run": name, "status": outcome.status, "error": outcome.error}
        _leave_result(result)
        return result

    def checkpoint(self) -> Any:
        """What submitit runs after requeueing: the same again. All state is in the run's directory."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _requeue(self, outcome: Outcome) -> Outcome:
        """The run has saved: let submitit count the time-out and requeue the job. Returns only if that is not possible."""
        from submitit.core.utils import UncompletedJobError

        # While the run was going on, our handler only set a flag; now submitit's is back, and may run to its end.
        handler = signal.getsignal(signal.SIGUSR2)
        if not callable(handler):
            return outcome
        limit = self.config["hardware"]["max_requeues"]
        try:
            handler(signal.SIGUSR2, None)  # leaves by SystemExit when the job was requeued
            problem = "was told to stop and not requeued"
        except UncompletedJobError:
            problem = f"reached its time limit more than hardware.max_requeues={limit} times"
        except (OSError, subprocess.SubprocessError) as error:
            problem = f"reached its time limit and could not be requeued ({error})"
        sentence = f"{problem}; it has saved, and the same command goes on from there."
        return _failed(outcome.directory, sentence, "queued" if self.dense_only else "failed")


def _leave_result(result: dict[str, Any]) -> None:
    """Write what became of the run beside the job's other files, as JSON: whoever waits for it executes nothing of ours."""
    from submitit import JobEnvironment

    try:
        paths = JobEnvironment().paths
    except RuntimeError:
        return  # not in a job of submitit's
    try:
        write_json(result_file(paths), result)
    except OSError as error:  # the run's own status still tells
        log.warning("the result could not be written (%s)", error.strerror)


def _failed(directory: RunDirectory, error: str, word: str) -> Outcome:
    with RunLock(directory.lock):
        if read_json_object(directory.status).get("status") == "preempted":
            StatusFile(directory.status).update(status=word, error=error)
    return Outcome(directory, "failed", error)
