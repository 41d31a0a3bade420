"""Helpers of the sweep tests: launch.py as a command, and runs put together from files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from prune.base.files import write_json, write_jsonl
from prune.config import RunConfig
from prune.rundir.directory import RunDirectory
from prune.rundir.epochs import epochs_of_states, position
from prune.rundir.identity import run_directory
from prune.rundir.status import now

LAUNCH = Path(__file__).resolve().parents[2] / "launch.py"


def launch(directory: Path, *overrides: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python launch.py …` in `directory`."""
    return subprocess.run(
        [sys.executable, str(LAUNCH), *overrides],
        cwd=directory, env={**os.environ, **variables}, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


def write_run(config: RunConfig, epochs: int = 0, **status: Any) -> RunDirectory:
    """The files of a run that has finished so many epochs; with `status="done"`, of a whole run."""
    directory = run_directory(config)
    directory.path.mkdir(parents=True, exist_ok=True)
    directory.write_config(config.model_dump(mode="json"))
    schedule = config.schedule
    done = status.get("status") == "done"
    planned = epochs_of_states(config.model_dump(mode="json"))
    positions = [position(planned, number) for number in range(sum(planned) if done else epochs)]
    metrics = [
        {"state": state, "epoch": epoch, "val_accuracy": 50.0 + number, "seconds": 2.0}
        for number, (state, epoch) in enumerate(positions)
    ]
    sizes = {"parameters": 1000, "macs": 2000, "val_accuracy_best": 60.0, "test_accuracy_best": 59.0, "seconds": 8.0}
    write_jsonl(directory.metrics, metrics)
    if done:
        write_jsonl(directory.states, [{"state": state, **sizes} for state in range(schedule.states)])
    write_json(directory.status, {"host": "here", "heartbeat": now(), **status})
    return directory


def submission(directory: RunDirectory, executor: str = "slurm", job_id: str = "7_0", **fields: Any) -> None:
    """The note of which job a run was given to."""
    jobs = directory.path.parent / ".hydra_runs" / "2026-01-01" / "jobs" / job_id
    content = {
        "executor": executor, "job_id": job_id, "output": f"{jobs}_0_log.out", "errors": f"{jobs}_0_log.err",
        "result": f"{jobs}_0_result.json", "submitted": now(), "verdict": None, **fields,
    }  # fmt: skip
    directory.submission.write_text(json.dumps(content))
