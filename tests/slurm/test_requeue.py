"""Runs that lose their node, on request, by the time limit or by its death, end as if they had never been interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.slurm.conftest import REPOSITORY, SMALL, Sweep, sitecustomize, until

LONG = ("schedule.epochs_first=45", "schedule.epochs=40", "method=rsst")

SLOW = """
import os, sys
if "SLURM_PROCID" in os.environ and "submitit" in " ".join(sys.orig_argv):
    import time
    import prune.run
    append = prune.run.append_jsonl
    def append_slowly(*arguments):
        time.sleep(0.35)
        append(*arguments)
    prune.run.append_jsonl = append_slowly
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


def test_requeued_runs_equal_uninterrupted_ones(sweep: Sweep, tmp_path: Path) -> None:
    """Twice on request (scancel --signal, scontrol requeue), then by a real time limit."""
    sweep.variables = sitecustomize(tmp_path / "site", SLOW)
    process = sweep.launch(*LONG, "hardware.time_minutes=1", "hardware.signal_seconds=10")
    run = until(sweep.runs, "the submission")[0]
    through = subprocess.Popen(  # meanwhile, the same run without a scheduler
        [sys.executable, str(REPOSITORY / "launch.py"), "hardware=cpu", *SMALL, *LONG, "name=through"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for command in (("scancel", "--signal=USR2"), ("scontrol", "requeue")):
        before = sweep.epochs(run)
        until(lambda before=before: sweep.epochs(run) > before + 2, "some epochs")
        starts = len(sweep.status(run)["starts"])
        sweep.cluster.run(*command, sweep.job(run))
        until(lambda starts=starts: len(sweep.status(run)["starts"]) > starts, f"the start after {command[0]}")
    code, _, errors = sweep.finish(process, 240)
    assert code == 0, errors
    assert through.wait(120) == 0
    # Two starts more came from our commands; what is beyond them is the time limit's doing.
    assert len(sweep.status(run)["starts"]) > 3
    assert result_of(run) == result_of(sweep.runs("through")[0])


def test_a_run_whose_node_dies_goes_on_elsewhere(sweep: Sweep) -> None:
    """SLURM requeues the job; it takes over the lock that its own earlier process holds, which then gets out of the way."""
    process = sweep.launch("schedule.epochs_first=400,401", "hardware.cpus=2")  # so that each node has one
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
    process = sweep.launch("schedule.epochs_first=400,3", "hardware.cpus=2", "hardware.sbatch=['--no-requeue']")
    until(lambda: len(sweep.runs()) == 2, "the submission")
    lost, fine = sweep.run_where("epochs_first", 400), sweep.run_where("epochs_first", 3)
    try:
        until(lambda: sweep.epochs(lost), "an epoch")
        sweep.cluster.kill_node(sweep.status(lost)["node"])
        code, _, errors = sweep.finish(process, 60)
    finally:
        os.kill(sweep.status(lost)["pid"], signal.SIGKILL)
        sweep.cluster.start_node(sweep.status(lost)["node"])
    assert code == 1
    assert f"{lost.name}: lost its node" in errors
    assert sweep.status(fine)["status"] == "done"
