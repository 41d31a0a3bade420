"""Where a run stands is read from files of which none is believed unchecked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.base.files import read_json, write_json
from prune.engine.cell import run_cell
from prune.rundir.directory import RunDirectory
from tests.conftest import Compose
from tests.engine.durability import differences
from tests.engine.runs import RunTiny, interrupted, stop_at


def interrupted_seed(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch, seed: int) -> RunDirectory:
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 0, 3)
        outcome = run_cell(compose_tiny("method=rsst", f"seed={seed}"))
    assert outcome.status == "preempted"
    return outcome.directory


def test_a_checkpoint_of_another_run_is_not_gone_on_from(
    run_tiny: RunTiny, compose_tiny: Compose, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    other = interrupted_seed(compose_tiny, monkeypatch, seed=1)
    shutil.copy(other.last, directory.last)
    assert run_tiny("method=rsst").status == "done"
    text = directory.log.read_text()
    assert f"last.pt belongs to another run, {other.path.name}; looking for an earlier one" in text
    assert "resuming at state 2, epoch 1, step 0" in text
    assert differences(whole, directory.path) == []


def test_where_nothing_else_serves_it_is_refused(
    run_tiny: RunTiny, compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 0, 0, 3)
        directory = run_tiny("method=rsst").directory
    other = interrupted_seed(compose_tiny, monkeypatch, seed=1)
    shutil.copy(other.last, directory.last)
    directory.previous.unlink()
    before = directory.last.read_bytes()
    outcome = run_tiny("method=rsst")
    assert outcome.status == "failed"
    assert outcome.error == (f"{directory.last} belongs to another run; put the right one back, or remove it to start afresh.")
    assert directory.last.read_bytes() == before


def bad_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] = 0xFF
    path.write_bytes(data)


def first_byte(path: Path) -> None:
    path.write_bytes(b"\xff" + path.read_bytes()[1:])


@pytest.mark.parametrize(
    ("damage", "said"), [(bad_byte, "going on from the final model of state 0"), (first_byte, "starting afresh")]
)
def test_bad_lines_do_not_block_a_run_that_has_lost_its_checkpoints(
    run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], said: str
) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    directory.last.unlink()
    directory.previous.unlink()
    damage(directory.metrics)
    assert run_tiny("method=rsst").status == "done"
    assert said in directory.log.read_text()
    assert differences(whole, directory.path) == []


def test_a_complete_state_brings_what_was_found_at_first_start(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    facts = read_json(directory.data)
    directory.last.unlink()
    directory.previous.unlink()
    write_json(directory.data, {**facts, "mean": [0.9]})
    write_json(directory.status, [])
    assert run_tiny("method=rsst").status == "done"
    assert read_json(directory.data) == facts
    assert "data.json is missing or damaged; written again from the checkpoint" in directory.log.read_text()


def test_the_threads_of_the_first_start_are_kept_without_its_status(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 0, 1, 3)
        directory = run_cell(compose_tiny("hardware.threads=2")).directory
    directory.status.write_text("{")
    assert run_cell(compose_tiny("hardware.threads=null")).status == "done"
    assert [start["threads"] for start in read_json(directory.status)["starts"]] == [2]


def test_what_is_not_needed_any_more_is_named_and_the_run_goes_on(
    run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    bad_byte(directory.predictions(0))
    first_byte(directory.manifest(1))
    assert run_tiny("method=rsst").status == "done"
    text = directory.log.read_text()
    for path in (directory.predictions(0), directory.manifest(1)):
        assert f"{path} is missing or damaged" in text
    assert differences(whole, directory.path) == []
