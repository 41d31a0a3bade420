"""Saves at epochs' ends: spaced so that they cost little; on a GPU of a snapshot, by a thread, one at a time."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from prune.base.files import read_json
from prune.engine import saver
from prune.engine.saver import Saver, snapshot
from prune.rundir.checkpoint import Progress, load_last, save_last
from prune.rundir.directory import RunDirectory
from tests.engine.durability import differences
from tests.engine.runs import RunTiny, interrupted

CPU = torch.device("cpu")


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    (tmp_path / "run").mkdir()
    return RunDirectory(tmp_path / "run")


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs on the CPU save as runs on a GPU do."""
    monkeypatch.setattr(saver, "IN_BACKGROUND", ("cuda", "cpu"))


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def progress(value: float = 0.0) -> Progress:
    live = {"best": {"tensors": {"w": torch.full((3,), value)}}, "sums": None}
    return Progress("run", model={"w": torch.full((3,), value)}, live=live, alive={"g": [0, 2]}, threads=1)


# ---- spacing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [0.0, 0.01, 3.0])
def test_auto_saves_so_seldom_that_it_takes_a_fiftieth_of_the_time(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(saver, "save_last", lambda *_: setattr(clock, "now", clock.now + cost))
    saving = Saver(directory, "auto", CPU)
    saving.write(progress())
    assert saving.due()
    saving.save(progress())  # now it knows
    saves, spent, began = 0, 0.0, clock.now
    for _ in range(20_000):  # epochs of a twentieth of a second
        clock.now += 0.05
        if saving.due():
            saves += 1
            saving.save(progress())
            spent += cost
    assert spent / (clock.now - began) <= 0.02
    assert saves == 20_000 if cost == 0 else spent / (clock.now - began) > 0.015  # and no more seldom than that


def test_a_number_is_the_least_time_between_two_saves(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(saver, "save_last", lambda *_: setattr(clock, "now", clock.now + 5))
    saving = Saver(directory, 10.0, CPU)
    saving.write(progress())
    clock.now += 9
    assert not saving.due()
    clock.now += 1
    assert saving.due()
    always = Saver(directory, 0.0, CPU)
    always.write(progress())
    assert always.due()


# ---- beside training ----------------------------------------------------------------------------------------------------


class Gate:
    """Holds saves up until it is opened; notes how many are in flight."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.open, self.entered = threading.Event(), threading.Event()
        self.in_flight = self.most = 0
        monkeypatch.setattr(saver, "save_last", self)

    def __call__(self, directory: RunDirectory, what: Progress) -> None:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        self.entered.set()
        assert self.open.wait(60)
        save_last(directory, what)
        self.in_flight -= 1


@pytest.fixture
def gate(beside: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.open.set()


def test_what_is_saved_is_what_was_when_it_was_asked_for(directory: RunDirectory, gate: Gate) -> None:
    now = progress(1.0)
    with Saver(directory, "auto", CPU) as saving:
        saving.save(now)
        assert gate.entered.wait(60)
        now.model["w"].fill_(2.0)  # training goes on
        assert now.live is not None
        now.live["best"]["tensors"]["w"].fill_(2.0)
        now.metrics.append({"epoch": 0})
        now.alive["g"].append(3)
        assert not saving.due()  # one is in flight
        gate.open.set()
    saved = load_last(directory)
    assert saved is not None and saved.live is not None
    assert saved.model["w"].tolist() == saved.live["best"]["tensors"]["w"].tolist() == [1, 1, 1]
    assert saved.metrics == [] and saved.alive == {"g": [0, 2]}


def test_one_save_at_a_time_in_their_order_and_none_in_flight_afterwards(directory: RunDirectory, gate: Gate) -> None:
    with Saver(directory, 0.0, CPU) as saving:
        for value in (1.0, 2.0, 3.0):
            threading.Timer(0.01, gate.open.set).start()
            saving.save(progress(value))
        saving.write(progress(4.0))  # waits for the third
        saving.save(progress(5.0))
    assert gate.most == 1 and gate.in_flight == 0
    for path, value in ((directory.last, 5), (directory.previous, 4)):
        os.replace(path, directory.last)
        saved = load_last(directory)
        assert saved is not None and saved.model["w"].tolist() == [value] * 3


def test_a_save_that_fails_is_told_at_the_next_step_once(
    directory: RunDirectory, beside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saver, "save_last", full)
    saving = Saver(directory, 0.0, CPU)
    saving.save(progress())
    with pytest.raises(OSError, match="No space left"):
        saving.wait()
    saving.check()
    with pytest.raises(ValueError, match="what ended the run"):
        fails_while_saving(saving)


def fails_while_saving(saving: Saver) -> None:
    with saving:
        saving.save(progress())
        raise ValueError("what ended the run")


def test_a_snapshot_holds_equal_values_and_shares_nothing() -> None:
    now = progress(1.0)
    now.facts = {"data.json": {"classes": ["a", "b"]}}
    now.run_memory = {"items": [("k", {"list": [1, 2.5, None]})]}
    copy = snapshot(now)
    assert copy.model["w"].data_ptr() != now.model["w"].data_ptr()
    assert torch.equal(copy.model["w"], now.model["w"])
    assert (copy.facts, copy.run_memory, copy.alive, copy.run) == (now.facts, now.run_memory, now.alive, now.run)
    assert copy.facts["data.json"] is not now.facts["data.json"]
    assert now.live is not None and copy.live is not None
    assert list(copy.live) == list(now.live)


# ---- runs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", ["auto", 0])
def test_a_run_that_saves_beside_training_stops_and_goes_on_exactly(
    run_tiny: RunTiny, whole: Path, beside: None, monkeypatch: pytest.MonkeyPatch, spacing: object
) -> None:
    directory = interrupted(lambda *more: run_tiny(*more, f"checkpoint.every_seconds={spacing}"), monkeypatch)
    saved = load_last(directory)
    assert saved is not None
    assert (saved.state, saved.epoch, saved.step) == (2, 1, 3)
    assert run_tiny("method=rsst", f"checkpoint.every_seconds={spacing}").status == "done"
    assert differences(whole, directory.path) == []
    assert not any(thread.name == "last.pt" for thread in threading.enumerate())


@pytest.mark.parametrize("failing", [2, 3])
def test_a_full_disk_ends_the_run_with_the_same_sentence(
    run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Whether the save is made by the loop or beside it; and the run goes on from the last good one."""
    told = []
    for name, devices in (("loop", ("cuda",)), ("thread", ("cuda", "cpu"))):
        count = 0

        def full(directory: RunDirectory, what: Progress) -> None:
            nonlocal count
            count += 1
            if count == failing:
                raise OSError(errno.ENOSPC, "No space left on device", str(directory.checkpoints / "last.new.pt"))
            save_last(directory, what)

        with monkeypatch.context() as patch:
            patch.setattr(saver, "IN_BACKGROUND", devices)
            patch.setattr(saver, "save_last", full)
            outcome = run_tiny("method=rsst", f"name={name}")
        assert outcome.status == "failed" and outcome.error is not None
        assert not read_json(outcome.directory.status).get("traceback")
        told.append(outcome.error.replace(str(outcome.directory.path), "RUN"))
        assert run_tiny("method=rsst", f"name={name}").status == "done"
        assert differences(whole, outcome.directory.path) == []
    assert told[0] == told[1]
    assert "the last good checkpoint is kept" in told[0]
