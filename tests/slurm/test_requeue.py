"""Runs that lose their node, on request, by the time limit or by its death, end as if they had never been interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ENDLESS
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import REPOSITORY, SMALL, Sweep, sitecustomize, until

LONG = ("schedule.epochs_first=45", "schedule.epochs=40", "method=rsst")

TWO_NODES = (f"schedule.epochs_first={ENDLESS},{ENDLESS + 1}", "hardware.cpus=2")
"""Two runs that only fit on different nodes."""

SLOW = """
import os, sys
if "SLURM_PROCID" in os.environ and "submitit" in " ".join(sys.orig_argv):
    import time
    import prune.engine.run
    append = prune.engine.run.append_jsonl
    def append_slowly(*arguments):
        time.sleep(0.45)
        append(*arguments)
    prune.engine.run.append_jsonl = append_slowly
"""
"""So that a run takes longer than one minute's time limit on every machine."""


def result_of(run: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All that a run leaves, times aside: metrics and states, and the digests of its models."""
    lines = [json.loads(line) for name in ("metrics", "states") for line in (run / f"{name}.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds")
        line.pop("images_per_second", None)
    models = {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(run.rglob("*.safetensors"))
    }
    return lines, models


class Interrupted:
    """A run that is interrupted four times and more: on request, by the scheduler, by real time limits.

    It takes minutes, most of them waiting, so it goes on in a thread of its own while the other tests run.
    """

    def __init__(self, sweep: Sweep):
        self.sweep, self.problem = sweep, ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(400)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._story()
        except BaseException as error:  # told by the test that waits for this thread
            self.problem = f"{type(error).__name__}: {error}"

    def _story(self) -> None:
        sweep = self.sweep
        sweep.variables = sitecustomize(sweep.directory / "site", SLOW)
        process = sweep.launch(
            *LONG, "hardware.time_minutes=1", "hardware.signal_seconds=10", "hardware.gpus=0",
            "hardware.sbatch=['--nodelist=node1']",  # the other node dies in the tests below
        )  # fmt: skip
        run = until(sweep.runs, "the submission")[0]
        for command in (("scancel", "--signal=USR2"), ("scontrol", "requeue")):
            before = sweep.epochs(run)
            until(lambda before=before: sweep.epochs(run) > before + 2, "some epochs")
            starts = len(sweep.status(run)["starts"])
            sweep.cluster.run(*command, sweep.job(run))
            until(lambda starts=starts: len(sweep.status(run)["starts"]) > starts, f"the start after {command[0]}")
        code, _, errors = sweep.finish(process, 300)
        assert code == 0, errors


@pytest.fixture(scope="session")
def interrupted(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interrupted]:
    sweep = Sweep(cluster, tmp_path_factory.mktemp("interrupted"))
    yield Interrupted(sweep)
    sweep.close()


def test_the_long_run_begins(interrupted: Interrupted) -> None:
    """Its end is looked at last of all."""
    assert not interrupted.problem


def test_a_run_whose_node_dies_goes_on_elsewhere(sweep: Sweep) -> None:
    """SLURM requeues the job; it takes over the lock that its own earlier process holds, which then gets out of the way."""
    process = sweep.launch(*TWO_NODES)
    try:
        until(lambda: len(sweep.runs()) == 2 and all(sweep.epochs(run) for run in sweep.runs()), "an epoch of both")
        lost = next(run for run in sweep.runs() if sweep.status(run)["node"] == "node2")
        other = next(run for run in sweep.runs() if run != lost)
        first = sweep.status(lost)["pid"]
        sweep.cluster.kill_node("node2")
        sweep.cluster.run("scancel", sweep.job(other))  # makes room
        until(lambda: len(sweep.status(lost)["starts"]) == 2, "the start on the other node")
        assert sweep.status(lost)["node"] == "node1"
        until(lambda: not Path(f"/proc/{first}").exists(), "the end of the process that was cut off")
        resumed = sweep.epochs(lost)
        until(lambda: sweep.epochs(lost) > resumed, "progress")
        lines = [json.loads(line) for line in (lost / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == list(range(len(lines)))
        assert (lost / "launch.log").read_text().count("resuming at state 0") == 1
    finally:
        sweep.cluster.start_node("node2")
    os.kill(process.pid, signal.SIGINT)  # the jobs go on, and we are told how to look at them
    code, _, errors = sweep.finish(process)
    assert code == 130
    assert "python -m prune status" in errors
    assert sweep.job(lost) in sweep.cluster.run("squeue", "-h", "-r", "-o", "%i").split()


def test_a_lost_node_without_requeueing_is_a_failure(sweep: Sweep) -> None:
    process = sweep.launch(*TWO_NODES, "hardware.sbatch=['--no-requeue']")
    until(lambda: len(sweep.runs()) == 2 and all(sweep.epochs(run) for run in sweep.runs()), "an epoch of both")
    lost = next(run for run in sweep.runs() if sweep.status(run)["node"] == "node2")
    other = next(run for run in sweep.runs() if run != lost)
    try:
        sweep.cluster.kill_node("node2")
        until(lambda: json.loads((lost / "submission.json").read_text())["verdict"] == "lost its node", "the verdict")
        before = sweep.epochs(other)
        until(lambda: sweep.epochs(other) > before, "the other run to go on")
    finally:
        os.kill(sweep.status(lost)["pid"], signal.SIGKILL)
        sweep.cluster.start_node("node2")
    sweep.cluster.run("scancel", sweep.job(other))
    code, _, errors = sweep.finish(process, 60)
    assert code == 1
    assert f"{lost.name}: lost its node" in errors
    assert f"{other.name}: was cancelled" in errors


def test_requeued_runs_equal_uninterrupted_ones(interrupted: Interrupted) -> None:
    through = subprocess.run(  # the same run without a scheduler
        [sys.executable, str(REPOSITORY / "launch.py"), "hardware=cpu", *SMALL, *LONG, "name=through"],
        cwd=interrupted.sweep.directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert through.returncode == 0, through.stderr
    interrupted.join()
    assert not interrupted.problem
    (run,) = interrupted.sweep.runs()
    # Two starts more came from our commands; what is beyond them is the time limit's doing.
    assert len(interrupted.sweep.status(run)["starts"]) > 3
    assert result_of(run) == result_of(interrupted.sweep.runs("through")[0])
