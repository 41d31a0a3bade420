"""Writing a shared state 0: whole or not at all, and never another in the place of one that runs have begun with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from prune.base.errors import UserError
from prune.base.files import read_json
from prune.rundir.checkpoint import save_state
from prune.rundir.dense import DenseDirectory, DenseState, read_dense
from prune.rundir.dense_publish import keep_point, publish
from prune.rundir.digests import Digests
from prune.rundir.directory import RunDirectory
from prune.rundir.predictions import store_predictions
from prune.rundir.rewind import RewindPoints


def finished_state_0(folder: Path, value: float) -> Digests:
    """The files of a run's state 0, with this in its model."""
    run = RunDirectory(folder)
    digests = Digests(run, {})
    model = {"w": torch.full((2,), value)}
    run.checkpoints.mkdir(parents=True)
    RewindPoints(digests).write("init", {"w": torch.zeros(2)})
    save_state(digests, 0, model, model, {"format": 2})
    store_predictions(digests, 0, b"predictions")
    return digests


@pytest.fixture
def place(tmp_path: Path) -> DenseDirectory:
    (tmp_path / "place").mkdir()
    return DenseDirectory(tmp_path / "place", "f" * 64)


def published(place: DenseDirectory, digests: Digests, data: str = "data") -> DenseState | None:
    return publish(
        place, digests, ("init",), start={"device": "cpu"}, threads=1, facts={"data.json": data}, metrics=[{"epoch": 0}],
        line={"state": 0},
    )  # fmt: skip


def test_what_is_published_is_read_back(place: DenseDirectory, tmp_path: Path) -> None:
    made = published(place, finished_state_0(tmp_path / "one", 1.0))
    assert made is not None and read_dense(place) == made
    assert (made.run, made.threads, made.metrics, made.line) == ("one", 1, [{"epoch": 0}], {"state": 0})
    assert made.broken(("init",)) is None


def test_the_same_again_adds_points_only(place: DenseDirectory, tmp_path: Path) -> None:
    published(place, finished_state_0(tmp_path / "one", 1.0))
    keep_point(place, "two", "epoch:3", {"w": torch.ones(2)})
    made = published(place, finished_state_0(tmp_path / "two", 1.0))
    assert made is not None and made.run == "one"
    assert made.broken(("init", "epoch:3")) is None
    assert not place.pending.exists()


def test_points_of_another_run_that_was_killed_do_not_count(place: DenseDirectory, tmp_path: Path) -> None:
    keep_point(place, "killed", "epoch:3", {"w": torch.ones(2)})
    made = published(place, finished_state_0(tmp_path / "one", 1.0))
    assert made is not None and made.lacks(("epoch:3",)) == ["epoch:3"]


def test_other_bits_do_not_replace_what_runs_have_begun_with(place: DenseDirectory, tmp_path: Path) -> None:
    first = published(place, finished_state_0(tmp_path / "one", 1.0))
    assert published(place, finished_state_0(tmp_path / "two", 2.0)) is None
    assert read_dense(place) == first


def test_those_of_other_data_do(place: DenseDirectory, tmp_path: Path) -> None:
    published(place, finished_state_0(tmp_path / "one", 1.0))
    keep_point(place, "one", "epoch:3", {"w": torch.ones(2)})
    made = published(place, finished_state_0(tmp_path / "two", 2.0), "other data")
    assert made is not None and made.run == "two" and read_dense(place) == made
    assert made.lacks(("epoch:3",)) == ["epoch:3"]
    assert made.broken(("init",)) is None


def test_a_damaged_file_of_the_run_is_not_handed_on(place: DenseDirectory, tmp_path: Path) -> None:
    digests = finished_state_0(tmp_path / "one", 1.0)
    (tmp_path / "one" / "checkpoints" / "state_00" / "best.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"best\.safetensors is damaged"):
        published(place, digests)
    assert read_json(place.manifest) is None


def test_a_point_of_other_bits_leaves_what_is_there_whole(place: DenseDirectory, tmp_path: Path) -> None:
    """Another processor's run passes a point that is there already: it lies aside, and goes with that run's state 0."""
    first = published(place, finished_state_0(tmp_path / "one", 1.0))
    assert first is not None
    keep_point(place, "two", "init", {"w": torch.ones(2)})
    assert first.broken(("init",)) is None
    assert published(place, finished_state_0(tmp_path / "two", 2.0)) is None
    assert first.broken(("init",)) is None
    assert not list(place.path.glob("pending*"))


def test_a_folder_that_was_removed_meanwhile_is_made_again(place: DenseDirectory, tmp_path: Path) -> None:
    keep_point(place, "one", "epoch:3", {"w": torch.ones(2)})
    shutil.rmtree(place.path)
    keep_point(place, "one", "epoch:4", {"w": torch.ones(2)})
    shutil.rmtree(place.path)
    made = published(place, finished_state_0(tmp_path / "one", 1.0))
    assert made is not None and read_dense(place) == made and made.broken(("init",)) is None
