"""Who trains a shared state 0, who waits, who goes his own way, and what is said of it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from prune.base.files import read_json
from prune.base.registries import METHODS
from prune.config import RunConfig
from prune.engine import sharing
from prune.engine.cell import Task, run_cell
from prune.engine.method import Method
from prune.engine.watch import Watcher
from prune.methods.refill import Refill
from prune.rundir.dense import DenseDirectory, dense_directory
from prune.rundir.identity import run_directory
from tests.conftest import Compose
from tests.engine.durability import differences
from tests.engine.runs import RunTiny, finished, said, stop_at
from tests.engine.test_adopt import origin
from tests.faults.sweeps import in_a_child


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "WAIT_SECONDS", 0.05)


@pytest.fixture
def place(compose_tiny: Compose) -> DenseDirectory:
    found = dense_directory(compose_tiny())
    assert found is not None
    return found


def test_a_point_that_was_not_kept_is_trained_for_and_kept_from_then_on(run_tiny: RunTiny, place: DenseDirectory) -> None:
    first = finished(run_tiny("method=refill"))
    lacking = f"{place.path} was trained without the rewind point epoch:0; this run trains its own state 0"
    second = finished(said(lambda: run_tiny("method=rsst", "method.rewind=epoch:0"), lacking))
    assert origin(second) is None
    third = finished(run_tiny("method=dense", "method.rewind=epoch:0"))
    assert origin(third) == first.path.name, "the state is the first one's, with a point more"
    assert third.rewind("epoch-000").read_bytes() == second.rewind("epoch-000").read_bytes()


@pytest.mark.parametrize(
    "file", ["dense.json", "final.safetensors", "best.safetensors", "predictions.npz", "rewind-init.safetensors"]
)
def test_a_damaged_file_is_named_and_made_anew(run_tiny: RunTiny, whole: Path, place: DenseDirectory, file: str) -> None:
    finished(run_tiny("method=refill", "method.rewind=init"))
    before = (place.path / file).read_bytes()
    (place.path / file).write_bytes(before[:-9] + b"x" + before[-8:])
    again = finished(said(lambda: run_tiny("method=rsst", "method.rewind=init"), str(place.path / file)))
    assert origin(again) is None
    if file != "dense.json":
        assert (place.path / file).read_bytes() == before
    third = finished(run_tiny("method=rsst"))
    assert origin(third) is not None
    assert differences(whole, third.path) == []


def test_a_folder_that_cannot_be_used_is_no_obstacle(run_tiny: RunTiny, whole: Path, place: DenseDirectory) -> None:
    place.path.parent.parent.mkdir(parents=True)
    place.path.parent.write_text("not a folder")
    outcome = said(lambda: run_tiny("method=rsst"), "cannot be used")
    assert differences(whole, finished(outcome).path) == []


@contextmanager
def training_elsewhere(config: RunConfig) -> Iterator[tuple[int, Callable[[], None]]]:
    """Another process trains this cell's state 0: it is stopped in its second epoch, and goes on when told to."""
    child = os.fork()
    if child == 0:
        begins = Watcher.epoch_begins

        def epoch_begins(self: Watcher, state: Any, epoch: int) -> None:
            if (state.index, epoch) == (0, 1):
                os.kill(os.getpid(), signal.SIGSTOP)
            begins(self, state, epoch)

        Watcher.epoch_begins = epoch_begins  # type: ignore[method-assign]
        try:
            run_cell(config)
        finally:
            os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    try:
        yield child, lambda: os.kill(child, signal.SIGCONT)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def when_it_waits(config: RunConfig, act: Callable[[], None]) -> threading.Thread:
    """Act once this cell's status says that it waits."""
    seen = run_directory(config).status

    def watch() -> None:
        while not (read_json(seen) or {}).get("waiting"):
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_second_process_waits_and_takes_over(compose_tiny: Compose, whole: Path) -> None:
    trainer, config = compose_tiny("method=refill"), compose_tiny("method=rsst")
    with training_elsewhere(trainer) as (pid, go_on):
        waiting = when_it_waits(config, go_on)
        outcome = said(lambda: run_cell(config), f"waiting for state 0, which process {pid}")
        waiting.join()
    directory = finished(outcome)
    assert origin(directory) == run_directory(trainer).path.name
    assert read_json(directory.status)["waiting"] is None
    assert differences(whole, directory.path) == []


def test_whoever_waited_for_a_process_that_is_killed_trains_it(compose_tiny: Compose, whole: Path) -> None:
    trainer, config = compose_tiny("method=refill"), compose_tiny("method=rsst")
    with training_elsewhere(trainer) as (pid, _):
        waiting = when_it_waits(config, lambda: os.kill(pid, signal.SIGKILL))
        outcome = run_cell(config)
        waiting.join()
        directory = finished(outcome)
        assert origin(directory) is None
        assert differences(whole, directory.path) == []
        # The one that was killed need not finish its own.
        assert origin(finished(run_cell(trainer))) == directory.path.name


def test_it_can_be_told_to_stop_while_it_waits(compose_tiny: Compose) -> None:
    trainer, config = compose_tiny("method=refill"), compose_tiny("method=rsst")
    with training_elsewhere(trainer):
        waiting = when_it_waits(config, lambda: os.kill(os.getpid(), signal.SIGTERM))
        outcome = run_cell(config)
        waiting.join()
    assert outcome.status == "preempted"
    assert read_json(outcome.directory.status)["status"] == "preempted"


def test_a_run_in_the_middle_of_its_state_0_waits_for_nobody(
    compose_tiny: Compose, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, config = compose_tiny("method=refill"), compose_tiny("method=rsst")
    with monkeypatch.context() as patch:
        stop_at(patch, 0, 1, 3)
        assert run_cell(config).status == "preempted"
    with training_elsewhere(trainer) as (pid, _):
        directory = finished(said(lambda: run_cell(config), f"process {pid} on host"))
        assert origin(directory) is None
        assert differences(whole, directory.path) == []


def test_what_others_want_is_kept_across_a_kill(compose_tiny: Compose, place: DenseDirectory) -> None:
    """Its points lie with the shared state until that is whole."""
    trainer = compose_tiny("method=dense")

    def stopped() -> None:
        begins = Watcher.epoch_begins

        def epoch_begins(self: Watcher, state: Any, epoch: int) -> None:
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            begins(self, state, epoch)

        Watcher.epoch_begins = epoch_begins  # type: ignore[method-assign]
        run_cell(trainer, Task(("epoch:0",)))

    assert in_a_child(stopped) == -signal.SIGKILL
    assert place.pending.is_file() and not place.manifest.exists()
    directory = finished(run_cell(trainer, Task(("epoch:0",))))
    assert not list(directory.checkpoints.glob("rewind-*")), "they are not this run's own"
    assert not place.pending.exists()
    assert origin(finished(run_cell(compose_tiny("method=refill", "method.rewind=epoch:0")))) == directory.path.name


class Acting(Method):
    """Acts in state 0, and says so or not."""

    Options = Refill.Options

    def end_epoch(self, state: Any, epoch: int) -> None:
        state.run_memory["seen"] = epoch


class Declared(Acting):
    changes_state_0 = True


class WithTerm(Method):
    """Its loss has a term, in all states."""

    Options = Refill.Options

    def loss_term(self, state: Any, images: Any, logits: Any, labels: Any) -> Any:
        return 0 * logits.sum()


@pytest.mark.parametrize("method", [Declared, WithTerm])
def test_a_method_that_acts_in_state_0_has_its_own(compose_tiny: Compose, place: DenseDirectory, method: type[Method]) -> None:
    METHODS.table["mine"] = f"{__name__}:{method.__name__}"
    finished(run_cell(compose_tiny("method=refill")))
    assert dense_directory(compose_tiny("method=refill", "method.name=mine")) is None
    assert origin(finished(run_cell(compose_tiny("method=refill", "method.name=mine")))) is None


def test_a_method_that_does_not_say_so_gives_nothing_to_others(compose_tiny: Compose, place: DenseDirectory) -> None:
    METHODS.table["mine"] = f"{__name__}:Acting"
    config = compose_tiny("method=refill", "method.name=mine")
    finished(said(lambda: run_cell(config), "should declare `changes_state_0`"))
    assert not place.manifest.exists()


def test_without_epochs_there_is_nothing_to_share(compose_tiny: Compose) -> None:
    assert dense_directory(compose_tiny("schedule.epochs_first=0")) is None


def test_what_it_was_trained_on_is_flagged_where_it_differs(run_tiny: RunTiny) -> None:
    short = ("schedule.states=2", "schedule.epochs=1", "method.ramp=1")
    finished(run_tiny("method=refill"))
    directory = finished(run_tiny("method=rsst", "hardware.threads=2", *short, "schedule.epochs_first=2"))
    assert "CPU threads changed from 1 to 2" in read_json(directory.status)["flags"][0]
    kept = finished(run_tiny("method=dense", "hardware.threads=null"))
    assert read_json(kept.status)["starts"][0]["threads"] == 1


def test_a_folder_that_is_removed_while_it_is_trained_is_made_again(
    compose_tiny: Compose, place: DenseDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = Watcher.epoch_begins

    def epoch_begins(self: Watcher, state: Any, epoch: int) -> None:
        if (state.index, epoch) == (0, 1):
            shutil.rmtree(place.path)
            self.job.sharing.beat()
        begins(self, state, epoch)

    monkeypatch.setattr(Watcher, "epoch_begins", epoch_begins)
    first = finished(run_cell(compose_tiny("method=refill"), Task(("epoch:1",))))
    monkeypatch.undo()
    assert not place.lock.exists()
    assert origin(finished(run_cell(compose_tiny("method=dense", "method.rewind=epoch:1")))) == first.path.name
