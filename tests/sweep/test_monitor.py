"""Waiting for runs: nothing is waited for when it cannot come any more, and nothing is given up while it may."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from prune.base.files import write_json
from prune.rundir.directory import RunDirectory
from prune.rundir.status import now
from prune.sweep import monitor as module
from prune.sweep.monitor import SETTLE_SECONDS, UNANSWERED_SECONDS, Monitor
from prune.sweep.slurm_queue import GONE, JobState
from prune.sweep.submission import read_submission
from tests.conftest import Compose
from tests.sweep.sweeps import submission, write_run

POLL_SECONDS = 6.0


class Scheduler:
    """A backend whose answer the test sets."""

    poll_seconds = POLL_SECONDS

    def __init__(self) -> None:
        self.answer: dict[Path, JobState] | None = {}

    def poll(self, directories: Sequence[RunDirectory]) -> dict[Path, JobState] | None:
        return self.answer

    def verdict(self, directory: RunDirectory) -> str:
        return "was cancelled"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The monitor's time, which only the test moves."""
    there = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: there.now))
    return there


@pytest.fixture
def watched(compose: Compose, clock: SimpleNamespace) -> tuple[Monitor, RunDirectory, Scheduler]:
    """A monitor of one run, queued as job 7_0."""
    directory = write_run(compose("model=vit_micro", "dataset=digits"), status="queued")
    submission(directory)
    scheduler = Scheduler()
    scheduler.answer = {directory.path: JobState("PENDING")}
    return Monitor([directory], scheduler), directory, scheduler  # type: ignore[arg-type]


def leave(directory: RunDirectory, what: str, text: str) -> Path:
    """Write a file that the run's submission names."""
    named = read_submission(directory)
    assert named is not None
    path = Path(getattr(named, what))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


Watched = tuple[Monitor, RunDirectory, Scheduler]


def pass_time(monitor: Monitor, clock: SimpleNamespace, seconds: float) -> bool:
    """Step every few seconds; whether all ended."""
    ended, end = monitor.step(), clock.now + seconds
    while clock.now < end:
        clock.now += min(5, end - clock.now)
        ended = monitor.step()
    return ended


def set_status(directory: RunDirectory, **fields: object) -> None:
    write_json(directory.status, {"host": "here", "heartbeat": now(), **fields})


def test_a_done_run_is_the_end(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, _ = watched
    assert not pass_time(monitor, clock, 100)
    set_status(directory, status="done")
    assert monitor.step()
    assert not monitor.failures


def test_a_failed_run_brings_its_own_words(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, _ = watched
    set_status(directory, status="failed", error="the loss became nan")
    assert monitor.step()
    assert monitor.failures == {directory.path: "the loss became nan"}


def test_a_job_that_ends_without_a_result_is_a_failure_after_a_moment(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, scheduler = watched
    set_status(directory, status="running")
    scheduler.answer = {directory.path: JobState("CANCELLED")}
    assert not pass_time(monitor, clock, 1), "its last files may still be on their way"
    assert pass_time(monitor, clock, SETTLE_SECONDS + POLL_SECONDS)
    assert monitor.failures == {directory.path: "was cancelled"}
    kept = read_submission(directory)
    assert kept is not None
    assert kept.verdict == "was cancelled"


def test_a_late_result_still_counts(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, scheduler = watched
    scheduler.answer = {directory.path: JobState("COMPLETED")}
    pass_time(monitor, clock, 2)
    set_status(directory, status="done")
    assert pass_time(monitor, clock, 1)
    assert not monitor.failures


def test_a_requeued_job_is_waited_for(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, scheduler = watched
    for state in ("COMPLETING", "REQUEUED", "PENDING", "RUNNING"):
        set_status(directory, status="preempted")
        scheduler.answer = {directory.path: JobState(state)}
        assert not pass_time(monitor, clock, 200)


def test_a_forgotten_job_is_not_waited_for(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, scheduler = watched
    scheduler.answer = {directory.path: GONE}
    assert pass_time(monitor, clock, SETTLE_SECONDS + 2 * POLL_SECONDS)


def test_a_silent_scheduler_is_waited_for_while_the_run_gives_signs_of_life(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, scheduler = watched
    scheduler.answer = None
    set_status(directory, status="running")
    assert not pass_time(monitor, clock, 2 * UNANSWERED_SECONDS)
    set_status(directory, status="running", heartbeat="2020-01-01T00:00:00+00:00")
    assert monitor.step()
    assert "no sign of life" in monitor.failures[directory.path]


def test_a_silent_scheduler_is_not_waited_for_for_ever(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, _, scheduler = watched
    scheduler.answer = None
    assert not pass_time(monitor, clock, UNANSWERED_SECONDS - 2)
    assert pass_time(monitor, clock, 4)


def test_what_the_job_returned_is_told_where_the_run_could_not(watched: Watched, clock: SimpleNamespace) -> None:
    """Such as a run that another process holds: its status is that process's to write."""
    monitor, directory, scheduler = watched
    scheduler.answer = {directory.path: JobState("COMPLETED")}
    leave(directory, "result", json.dumps({"run": directory.path.name, "status": "failed", "error": "it is in use"}))
    assert pass_time(monitor, clock, SETTLE_SECONDS + POLL_SECONDS)
    assert monitor.failures == {directory.path: "it is in use"}


def test_a_traceback_before_the_run_began_is_told(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, scheduler = watched
    scheduler.answer = {directory.path: JobState("FAILED")}
    leave(directory, "errors", "Traceback\n  …\nModuleNotFoundError: torch\nsrun: error: n1: task 0: Exited with exit code 1\n")
    assert pass_time(monitor, clock, SETTLE_SECONDS + POLL_SECONDS)
    assert monitor.failures == {directory.path: "ModuleNotFoundError: torch"}


class Crafted:
    """Whoever unpickles one makes a folder."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_crafted_result_is_not_executed(watched: Watched, clock: SimpleNamespace, tmp_path: Path) -> None:
    monitor, directory, scheduler = watched
    scheduler.answer = {directory.path: JobState("COMPLETED")}
    for name in ("result.pkl", "result.json"):
        crafted = tmp_path / name
        crafted.write_bytes(pickle.dumps(("success", Crafted(tmp_path / "executed"))))
    for file in (tmp_path / "result.pkl", tmp_path / "result.json"):
        for place in (file, leave(directory, "result", "").with_suffix(file.suffix)):
            place.write_bytes(file.read_bytes())
            submission(directory, result=str(place))
            Monitor([directory], scheduler).step()  # type: ignore[arg-type]
    assert pass_time(monitor, clock, SETTLE_SECONDS + POLL_SECONDS)
    assert monitor.failures == {directory.path: "was cancelled"}
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("outside", ["file", "link"])
def test_a_result_counts_only_among_the_sweeps_own_jobs(
    watched: Watched, clock: SimpleNamespace, tmp_path: Path, outside: str
) -> None:
    monitor, directory, scheduler = watched
    scheduler.answer = {directory.path: JobState("COMPLETED")}
    place = tmp_path / "elsewhere.json"
    place.write_text(json.dumps({"run": directory.path.name, "status": "failed", "error": "made up"}))
    if outside == "link":
        inside = leave(directory, "result", "")
        inside.unlink()
        inside.symlink_to(place)
    else:
        submission(directory, result=str(place), errors=str(place), output=str(place))
    assert pass_time(monitor, clock, SETTLE_SECONDS + POLL_SECONDS)
    assert monitor.failures == {directory.path: "was cancelled"}


def test_another_runs_result_does_not_count(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, scheduler = watched
    scheduler.answer = {directory.path: JobState("COMPLETED")}
    leave(directory, "result", json.dumps({"run": "digits-rsst-s7-01234567", "status": "failed", "error": "another's"}))
    assert pass_time(monitor, clock, SETTLE_SECONDS + POLL_SECONDS)
    assert monitor.failures == {directory.path: "was cancelled"}


def test_a_run_that_cannot_be_read_is_a_row(watched: Watched) -> None:
    monitor, directory, _ = watched
    directory.config.write_text("[1]")
    [row] = monitor.rows()
    assert (row.status, row.states) == ("unreadable", None)
    assert str(directory.config) in str(row.error)


def test_runs_started_elsewhere_are_judged_by_their_files(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, scheduler = watched
    scheduler.answer = {}
    set_status(directory, status="running")
    assert not pass_time(monitor, clock, 100)
    set_status(directory, status="preempted")
    assert pass_time(monitor, clock, 1)
    assert monitor.failures == {directory.path: "was stopped"}


def test_rows_show_what_slurm_waits_for(watched: Watched, clock: SimpleNamespace) -> None:
    monitor, directory, scheduler = watched
    scheduler.answer = {directory.path: JobState("PENDING", "", "Resources")}
    monitor.step()
    assert [row.status for row in monitor.rows()] == ["queued (Resources)"]
