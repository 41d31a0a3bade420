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
    """The files of a run that has finished so many epochs."""
    directory = run_directory(config)
    directory.path.mkdir(parents=True, exist_ok=True)
    directory.write_config(config.model_dump(mode="json"))
    write_jsonl(directory.metrics, [{"epoch": epoch, "val_accuracy": 50.0 + epoch, "seconds": 2.0} for epoch in range(epochs)])
    write_json(directory.status, {"host": "here", "heartbeat": now(), **status})
    return directory


def submission(directory: RunDirectory, executor: str = "slurm", job_id: str = "7_0", **fields: Any) -> None:
    """The note of which job a run was given to."""
    content = {
        "executor": executor, "job_id": job_id, "output": str(directory.path / "job.out"),
        "errors": str(directory.path / "job.err"), "result": str(directory.path / "result.pkl"),
        "submitted": now(), "verdict": None, **fields,
    }  # fmt: skip
    directory.submission.write_text(json.dumps(content))
