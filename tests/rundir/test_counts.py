"""Counts of another run: taken state by state, kept through restarts, and refused in one sentence where there are none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from prune.base.errors import UserError
from prune.base.files import read_json, read_jsonl, write_jsonl
from prune.engine.cell import run_cell
from prune.rundir.checkpoint import load_last
from prune.rundir.counts import budgets_of
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory, run_id
from prune.sweep.work import is_exact, macs_per_epoch
from tests.conftest import TINY_RUN, Compose
from tests.engine.runs import equal, final, finished, stop_at


@pytest.fixture
def source(compose_tiny: Compose) -> RunDirectory:
    """A finished run whose blocks do not keep alike."""
    return finished(run_cell(compose_tiny("method=refill", "method.criterion=taylor", "method.pools=joint")))


def groups(directory: RunDirectory) -> list[dict[str, int]]:
    return [line["groups"] for line in read_jsonl(directory.states)]


def kept(directory: RunDirectory, state: int) -> dict[str, list[int]]:
    return {name: group["kept"] for name, group in (read_json(directory.manifest(state)) or {})["groups"].items()}


@pytest.mark.parametrize("chosen", [("refill", "random"), ("rsst", "magnitude"), ("scratch", None)])
def test_each_group_keeps_as_many_as_there_in_each_state(
    compose_tiny: Compose, source: RunDirectory, chosen: tuple[str, str | None]
) -> None:
    method, criterion = chosen
    keys = [f"method={method}", f"method.counts={source.path}", *([f"method.criterion={criterion}"] if criterion else [])]
    config = compose_tiny(*keys)
    assert [budget.quotas for budget in budgets_of(config)] == groups(source)
    lines = read_jsonl(source.states)
    assert is_exact(config)
    if method != "rsst":
        assert macs_per_epoch(config) == [line["macs"] for line in lines for _ in range(2)]
    directory = finished(run_cell(config))
    assert groups(directory) == groups(source) and groups(source)[1] != groups(source)[2]
    assert len(set(groups(source)[2].values())) > 2  # blocks differ, or nothing would be shown
    if criterion == "random":
        assert kept(directory, 2) != kept(source, 2)
    sets = [kept(directory, state) for state in range(3)]
    assert all(set(sets[s + 1][name]) <= set(sets[s][name]) for s in range(2) for name in sets[0])


def test_the_run_of_a_sweeps_folder_is_found_by_data_model_seed_and_schedule(
    compose_tiny: Compose, source: RunDirectory
) -> None:
    sweep = source.path.parent
    finished(run_cell(compose_tiny("method=dense")))
    finished(run_cell(compose_tiny("method=refill", "seed=1")))
    config = compose_tiny("method=refill", "method.criterion=random", f"method.counts={sweep}")
    assert [budget.quotas for budget in budgets_of(config)] == groups(source)
    control = finished(run_cell(config))
    assert budgets_of(config)  # what it has made itself in that folder is no other run
    other = compose_tiny("method=rsst", "method.criterion=random", f"method.counts={sweep}")
    assert [budget.quotas for budget in budgets_of(other)] == groups(source)  # a control's counts are not its own
    second = finished(run_cell(compose_tiny("method=refill")))
    with pytest.raises(UserError, match=r"holds 2 runs with this dataset, model, seed and schedule; give one of t") as caught:
        budgets_of(other)
    assert source.path.name in str(caught.value) and second.path.name in str(caught.value)
    assert control.path.name not in str(caught.value)


def test_identity_counts_the_real_path_and_nothing_where_there_is_none(
    compose_tiny: Compose, source: RunDirectory, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(source.path)
    typed, linked, other = (
        run_id(compose_tiny("method=refill", f"method.counts={path}")) for path in (source.path, link, source.path.parent)
    )
    assert typed == linked != other
    assert run_id(compose_tiny("method=refill", "method.counts=null")) == run_id(compose_tiny("method=refill")) != typed


@pytest.mark.parametrize("lost", ["nothing", "source", "checkpoint"])
def test_what_was_taken_is_kept_through_a_restart(
    compose_tiny: Compose, source: RunDirectory, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    whole, stopped = (
        compose_tiny("method=refill", "method.criterion=random", f"method.counts={source.path}", f"name={name}")
        for name in ("whole", "stopped")
    )
    one = finished(run_cell(whole))
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 1, 3)
        assert run_cell(stopped).status == "preempted"
    progress = load_last(run_directory(stopped))
    assert progress is not None
    (taken,) = progress.facts["counts.json"].values()
    assert taken["groups"] == groups(source) and taken["run"] == str(source.path)
    if lost == "source":
        shutil.rmtree(source.path)
    if lost == "checkpoint":
        run_directory(stopped).counts.unlink()
    other = finished(run_cell(stopped))
    assert all(equal(final(one, state), final(other, state)) for state in range(3))
    assert read_json(other.counts) == progress.facts["counts.json"]


def test_a_source_that_has_changed_is_named(
    compose_tiny: Compose, source: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_tiny("method=refill", "method.criterion=random", f"method.counts={source.path}")
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 1, 3)
        assert run_cell(config).status == "preempted"
    lines = read_jsonl(source.states)
    lines[2]["groups"] = {name: units + (name == "blocks.0.mlp") for name, units in lines[2]["groups"].items()}
    write_jsonl(source.states, lines)
    source.checksums.unlink()
    outcome = run_cell(config)
    assert outcome.status == "failed"
    assert (
        outcome.error is not None
        and "keeps other numbers of units than when this run began; restore it, or set" in outcome.error
    )


def test_one_shot_takes_the_last_state(compose_tiny: Compose, source: RunDirectory) -> None:
    config = compose_tiny("method=scratch", f"method.counts={source.path}", "schedule.states=2")
    assert [budget.quotas for budget in budgets_of(config)] == [groups(source)[0], groups(source)[2]]


def refused(compose_tiny: Compose, path: Path, *more: str) -> str:
    with pytest.raises(UserError) as caught:
        budgets_of(compose_tiny("method=refill", "method.criterion=random", f"method.counts={path}", *more))
    sentence = str(caught.value)
    assert sentence.startswith(f"method.counts={path}") and re.fullmatch(r"[^\n]*\.", sentence)
    return sentence


def test_bad_sources_are_one_sentence_each(
    compose: Compose, compose_tiny: Compose, source: RunDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "is not there; give a finished run's directory, or a sweep's folder" in refused(compose_tiny, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no runs"):
        budgets_of(compose_tiny("method=refill", f"method.counts={tmp_path / 'empty'}"))
    assert "holds no run with this dataset, model, seed and schedule" in refused(compose_tiny, source.path.parent, "seed=7")
    assert "has no state at the rates of state 1 (" in refused(compose_tiny, source.path, "schedule.shape=linear")
    sentence = refused(compose_tiny, source.path, "model.num_heads=2")
    assert (
        "is of another architecture; it has 4 units in blocks.0.attn, 32 units in blocks.0.mlp and 2 more groups where"
        in sentence
    )
    swin: Any = [key for key in TINY_RUN if not key.startswith("model.")]
    with pytest.raises(UserError, match="is of another architecture"):
        budgets_of(compose(*swin, "model=swin_micro", "method=refill", f"method.counts={source.path}"))
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 1, 3)
        unfinished = run_cell(compose_tiny("method=rsst")).directory
    assert "is not finished (1 of 3 states); finish it first" in refused(compose_tiny, unfinished.path)
    with pytest.raises(UserError, match=r"^method.counts says how many units each group keeps, and dense keeps all"):
        compose_tiny("method=dense", f"+method.counts={source.path}")
