"""Every way in which a run can end badly: the others go on, and the end says what happened to which."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.conftest import ENDLESS
from tests.slurm.conftest import Sweep, sitecustomize, until

RAISES = """
import os
if os.environ.get("SLURM_ARRAY_TASK_ID") == "0" and "SLURM_PROCID" in os.environ:
    import prune.engine.job
    def prepare(*_):
        raise ZeroDivisionError("on purpose")
    prune.engine.job.prepare = prepare
"""

EPOCHS = (ENDLESS, ENDLESS + 1, ENDLESS + 2, ENDLESS + 3, 2)
CELLS = f"schedule.epochs_first={','.join(map(str, EPOCHS))}"


def test_each_failure_is_named_and_stops_nothing_else(sweep: Sweep, tmp_path: Path) -> None:
    sweep.variables = sitecustomize(tmp_path / "site", RAISES)
    process = sweep.launch(CELLS, "hardware.max_requeues=0", "hardware.time_minutes=9")
    until(lambda: len(sweep.runs()) == 5, "the submission")
    raising, killed, cancelled, exceeding, fine = (sweep.run_where("epochs_first", n) for n in EPOCHS)
    for run in (killed, cancelled, exceeding):
        until(lambda run=run: sweep.epochs(run), f"the first epoch of {run.name}")
    os.kill(sweep.status(killed)["pid"], signal.SIGKILL)  # as the kernel does when memory runs out
    sweep.cluster.run("scancel", sweep.job(cancelled))
    sweep.cluster.run("scancel", "--signal=USR2", sweep.job(exceeding))
    code, output, errors = sweep.finish(process)
    assert code == 1
    assert "4 of 5 runs failed" in errors
    assert f"{raising.name}: ZeroDivisionError: on purpose" in errors
    assert f"{killed.name}: was ended from outside (signal 9, as the kernel sends when memory runs out)" in errors
    assert f"{cancelled.name}: was cancelled" in errors
    assert f"{exceeding.name}: reached its time limit more than hardware.max_requeues=0 times" in errors
    for run in (raising, killed, cancelled, exceeding):
        assert f"Log: {run / 'launch.log'}" in errors
    assert sweep.status(fine)["status"] == "done"
    assert "prepare" in sweep.status(raising)["traceback"]
    assert "Traceback" in (raising / "launch.log").read_text()
    assert sweep.status(cancelled)["status"] == "preempted"  # it had time to save
    assert sweep.status(exceeding)["status"] == "failed"

    # The same command runs just what is missing.
    process = sweep.launch(CELLS, "plan=true")
    code, output, errors = sweep.finish(process)
    assert code == 0, errors
    assert "1 new" in output
    assert "3 resumable" in output
    assert "1 done" in output
