"""What SLURM's commands say, and what is made of it: with stand-ins for squeue, scontrol and sacct on the PATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune.sweep.slurm_queue import GONE, JobState, how_it_ended, in_words, queue_states


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the PATH; `command(…)` puts a stand-in there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def command(folder: Path, name: str, output: str = "", errors: str = "", code: int = 0) -> None:
    (folder / f"{name}.out").write_text(output)
    (folder / f"{name}.err").write_text(errors)
    script = f"#!/bin/sh\nPATH=/bin:/usr/bin\ncat {folder}/{name}.out\ncat {folder}/{name}.err >&2\nexit {code}\n"
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def test_states_of_an_array(slurm: Path) -> None:
    command(slurm, "squeue", "7_0|RUNNING|n1|None\n7_1|PENDING||Resources\n7_2|COMPLETED|n2|None\n")
    assert queue_states(["7_0", "7_1", "7_3"]) == {
        "7_0": JobState("RUNNING", "n1"),
        "7_1": JobState("PENDING", "", "Resources"),
    }
    assert queue_states([]) == {}


def test_a_purged_job_is_told_from_a_silent_controller(slurm: Path) -> None:
    assert queue_states(["7"]) is None, "no squeue"
    command(slurm, "squeue", errors="slurm_load_jobs error: Invalid job id specified\n", code=1)
    assert queue_states(["7"]) == {}
    command(slurm, "squeue", errors="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    assert queue_states(["7"]) is None


@pytest.mark.parametrize(
    ("state", "over"),
    [("PENDING", False), ("RUNNING", False), ("COMPLETING", False), ("REQUEUED", False), ("SUSPENDED", False)]
    + [(state, True) for state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "GONE")],
)
def test_which_states_are_the_end(state: str, over: bool) -> None:
    assert JobState(state).over is over


def test_a_job_that_is_held_after_a_failed_start_never_ends_by_itself() -> None:
    assert JobState("PENDING", "", "launch failed requeued held").over
    assert JobState("PENDING", "", "JobHoldMaxRequeue").over
    assert not JobState("PENDING", "", "JobHeldUser").over
    assert "scancel" in in_words(JobState("PENDING", "", "launch failed requeued held"))


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ("FAILED", "137:0", "signal 9, as the kernel sends when memory runs out"),
        ("FAILED", "0:9", "signal 9"),
        ("FAILED", "1:0", "exit code 1"),
        ("OUT_OF_MEMORY", "0:125", "hardware.memory_gb"),
        ("TIMEOUT", "0:15", "hardware.signal_seconds"),
        ("NODE_FAIL", "1:0", "lost its node"),
        ("CANCELLED", "0:15", "was cancelled"),
    ],
)
def test_how_it_ended(slurm: Path, state: str, code: str, words: str) -> None:
    command(slurm, "scontrol", f"JobId=7 JobState={state} Reason=None ExitCode={code} NodeList=n1\n")
    assert words in in_words(how_it_ended("7"))


def test_accounting_is_asked_last_and_not_needed(slurm: Path) -> None:
    assert how_it_ended("7") == GONE
    command(slurm, "scontrol", errors="slurm_load_jobs error: Invalid job id specified", code=1)
    command(slurm, "sacct", "CANCELLED by 0|n1|0:15\n")
    assert how_it_ended("7").state == "CANCELLED"
    command(slurm, "sacct", errors="Slurm accounting storage is disabled", code=1)
    assert how_it_ended("7") == GONE
    assert "no longer known" in in_words(GONE)
