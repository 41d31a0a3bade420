"""`hardware=local`: processes on this machine, some at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prune.base.errors import UserError
from prune.rundir.identity import run_directory
from prune.sweep import local
from prune.sweep.dispatch import _mark_queued, _submit
from prune.sweep.local import LocalBackend
from prune.sweep.plan import make_plan
from prune.sweep.stems import ALONE
from tests.conftest import ENDLESS, TINY_RUN, Compose
from tests.sweep.sweeps import LAUNCH, launch

LOCAL = ("-m", *TINY_RUN[:-2], "hardware=local", "hardware.device=cpu", "hardware.threads=1")


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 90
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value


def status(run: Path) -> dict[str, Any]:
    return json.loads((run / "status.json").read_text())


def test_a_sweep_of_processes(tmp_path: Path) -> None:
    """One fails, the other is done; again: only the failed one is started."""
    cells = (*LOCAL, "optim.lr=1e30,1e-3", "hardware.jobs=2")
    done = launch(tmp_path, *cells)
    assert done.returncode == 1
    assert "1 of 2 runs failed" in done.stderr
    assert "the training loss became" in done.stderr
    runs = sorted((tmp_path / "outputs" / "demo").glob("digits-*"), key=lambda run: status(run)["status"])
    assert [status(run)["status"] for run in runs] == ["done", "failed"]
    assert len({status(run)["pid"] for run in runs}) == 2, "a process per run"
    assert (tmp_path / "outputs" / "demo" / ".code").is_dir()
    again = launch(tmp_path, *cells)
    assert "1 resumable" in again.stdout or "1 new" in again.stdout
    assert "1 done" in again.stdout
    assert len(status(runs[0])["starts"]) == 1


def test_ctrl_c_leaves_the_processes_running(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(LAUNCH), *LOCAL, f"schedule.epochs_first={ENDLESS}", "seed=0,1", "hardware.jobs=1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    (metrics,) = wait_for(lambda: list(tmp_path.glob("outputs/demo/*/metrics.jsonl")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The runs go on." in errors
    assert "Not started yet: 1" in errors
    assert len(list(tmp_path.glob("outputs/demo/digits-*"))) == 1, "a run that nothing will start is not left as queued"
    count = len(metrics.read_text().splitlines())
    wait_for(lambda: len(metrics.read_text().splitlines()) > count)
    os.kill(int(json.loads((metrics.parent / "submission.json").read_text())["job_id"]), signal.SIGTERM)
    wait_for(lambda: status(metrics.parent)["status"] == "preempted")


def test_returning_at_once_needs_room_for_all(tmp_path: Path) -> None:
    done = launch(tmp_path, *LOCAL, "seed=0,1", "hardware.jobs=1", "hardware.wait=false")
    assert done.returncode == 1
    assert "hardware.wait=false starts all 2 runs at once, more than hardware.jobs=1" in done.stderr
    assert not list((tmp_path / "outputs").glob("demo/digits-*"))


class Jobs:
    """Stands for submitit: notes what is started; a job is done when the test says so."""

    def __init__(self) -> None:
        self.started: list[Any] = []

    def __call__(self, cluster: str, **_: Any) -> Jobs:
        return self

    def submit(self, job: Any) -> Any:
        paths = SimpleNamespace(stdout="out", stderr="err", result_pickle=Path("result"))
        made = SimpleNamespace(
            job=job, ended=False, job_id=len(self.started), paths=paths, _process=SimpleNamespace(returncode=0)
        )
        made.done = lambda: made.ended
        self.started.append(made)
        return made


def test_what_has_been_started_is_left_when_the_rest_cannot_be(compose_tiny: Compose, tmp_path: Path) -> None:
    class Two(Jobs):
        """A machine that has no room for a third process."""

        def submit(self, job: Any) -> Any:
            if len(self.started) == 2:
                raise OSError("no more processes")
            return super().submit(job)

    plan = make_plan([compose_tiny("hardware=local", "hardware.jobs=3", f"seed={seed}") for seed in range(4)])
    plan[3].directory.path.mkdir(parents=True)
    with pytest.raises(OSError, match="no more processes"):
        _submit(plan, LocalBackend(plan[0].config.hardware, Two(), tmp_path))
    assert [cell.directory.submission.exists() for cell in plan] == [True, True, False, False]
    assert not plan[2].directory.path.exists(), "as it was"
    assert not plan[3].directory.status.exists(), "not left as queued"


@pytest.fixture
def backend(compose_tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LocalBackend]:
    """`backend("hardware.jobs=2")` on a machine with 8 cores and 2 GPUs."""
    monkeypatch.setattr(local, "cpu_count", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")

    def make(*overrides: str) -> LocalBackend:
        config = compose_tiny("hardware=local", "hardware.threads=null", "hardware.device=auto", *overrides)
        return LocalBackend(config.hardware, Jobs(), tmp_path)

    return make


def start(backend: LocalBackend, compose_tiny: Compose, count: int) -> list[Any]:
    configs = [compose_tiny("hardware=local", "hardware.threads=null", f"seed={seed}") for seed in range(count)]
    plan = make_plan(configs)
    for config in configs:
        _mark_queued(config, run_directory(config))
    backend.submit(plan)
    jobs = backend.executor
    assert isinstance(jobs, Jobs)
    return jobs.started


def test_slots_share_cores_and_gpus(backend: Callable[..., LocalBackend], compose_tiny: Compose) -> None:
    two = backend("hardware.jobs=2")
    started = start(two, compose_tiny, 3)
    assert len(started) == 2
    assert [made.job.environment["CUDA_VISIBLE_DEVICES"] for made in started] == ["3", "5"]
    assert {made.job.config["hardware"]["threads"] for made in started} == {4}
    started[1].ended = True
    two.poll([])
    assert len(started) == 3
    assert started[2].job.environment["CUDA_VISIBLE_DEVICES"] == "5", "the GPU that became free"


def test_more_runs_than_gpus_share_them_evenly(backend: Callable[..., LocalBackend], compose_tiny: Compose) -> None:
    started = start(backend("hardware.jobs=4"), compose_tiny, 4)
    assert [made.job.environment["CUDA_VISIBLE_DEVICES"] for made in started] == ["3", "5", "3", "5"]
    assert {made.job.config["hardware"]["threads"] for made in started} == {2}


def test_a_run_on_the_cpu_gets_no_gpu(backend: Callable[..., LocalBackend], compose_tiny: Compose) -> None:
    started = start(backend("hardware.jobs=1", "hardware.device=cpu"), compose_tiny, 1)
    assert "CUDA_VISIBLE_DEVICES" not in started[0].job.environment


def test_wait_false_is_checked_before_anything_starts(backend: Callable[..., LocalBackend]) -> None:
    backend("hardware.jobs=2", "hardware.wait=false").check(2)
    with pytest.raises(UserError, match=r"hardware\.jobs=2"):
        backend("hardware.jobs=2", "hardware.wait=false").check(3)


class Seen:
    """Stands for a run's directory, and counts how often it is asked which one it is."""

    asked = 0

    def __init__(self, number: int):
        self.number = number

    @property
    def path(self) -> Path:
        Seen.asked += 1
        return Path(str(self.number))


def test_looking_after_ten_times_the_runs_takes_ten_times_the_work(backend: Callable[..., LocalBackend]) -> None:
    def asked(count: int) -> int:
        local = backend()
        local._slots.clear()  # none starts
        runs: list[Any] = [Seen(number) for number in range(count)]
        local._queue.extend(SimpleNamespace(directory=run, share=ALONE) for run in runs)  # type: ignore[misc]
        Seen.asked = 0
        states = local.poll(runs)
        assert states is not None and len(states) == count
        return Seen.asked

    assert asked(500) <= 10 * asked(50)
