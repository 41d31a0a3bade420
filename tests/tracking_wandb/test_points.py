"""The mapping from a run's files to W&B."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prune.rundir.directory import RunDirectory
from prune.rundir.reader import read_run
from prune.tracking_wandb.points import History, axis_globs, dataset_of, identity
from tests.tracking_wandb.runs import EPOCHS, STATES, make_config, make_directory, write_epoch, write_run, write_state


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return make_directory(tmp_path, make_config())


def history(directory: RunDirectory) -> History:
    return History.read(read_run(directory.path))


def test_a_point_for_each_epoch_and_the_state_with_its_last(directory: RunDirectory) -> None:
    write_run(directory)
    points = list(history(directory).points())
    assert [point.step for point in points] == list(range(1, STATES * EPOCHS + 1))
    assert [point.state for point in points] == [None, 0, None, 1, None, 2]
    last = points[-1].values
    assert last["epoch"] == 6
    assert last["state"] == 2
    assert last["epoch/epoch_in_state"] == 1
    assert last["epoch/state"] == 2
    assert last["state/val_accuracy_final"] == 62.0
    assert last["digits/state/val_accuracy_final"] == 62.0
    assert last["state/drop"] == 42.0 - 61.0, "the state before ended at 61, pruning left 42"
    assert last["state/recovery"] == 62.0 - 42.0
    assert "state" not in points[0].values, "an epoch inside a state is no point of the state's axis"
    assert "epoch/penalty" not in points[0].values, "null has no value to draw"
    assert "state/drop" not in points[1].values


def test_units_kept_are_a_metric_a_kind(directory: RunDirectory) -> None:
    write_run(directory)
    last = list(history(directory).points())[-1].values
    assert {key: value for key, value in last.items() if "kept" in key} == {
        "state/kept/heads": 2, "state/kept/neurons": 8, "digits/state/kept/heads": 2, "digits/state/kept/neurons": 8,
    }  # fmt: skip
    assert not [key for key in last if "group" in key or "blocks" in key], "the table has a row a group; no metric each"


def test_a_states_last_epoch_waits_for_its_state(directory: RunDirectory) -> None:
    write_epoch(directory, 0, 0)
    write_epoch(directory, 0, 1)
    assert [point.step for point in history(directory).points()] == [1]
    write_state(directory, 0)
    assert [point.step for point in history(directory).points()] == [1, 2]
    assert [point.step for point in history(directory).points(first=2)] == [2]


def test_a_state_without_its_last_epoch_is_not_complete(directory: RunDirectory) -> None:
    write_epoch(directory, 0, 0)
    write_state(directory, 0)
    assert [point.step for point in history(directory).points()] == [1]


def test_a_replayed_epoch_is_the_same_point(directory: RunDirectory) -> None:
    write_run(directory)
    write_epoch(directory, 2, 0)
    assert [point.step for point in history(directory).points()] == list(range(1, 7))


@pytest.mark.parametrize(("first", "steps"), [(0, [0, 1, 2, 3, 4]), (1, [1, 2, 3, 4, 5]), (None, [1, 2, 3, 4, 5, 6])])
def test_epochs_of_state_0_shift_the_steps(tmp_path: Path, first: int | None, steps: list[int]) -> None:
    directory = make_directory(tmp_path, make_config(schedule__epochs_first=first))
    for state in range(STATES):
        for epoch in range(first if state == 0 and first is not None else EPOCHS):
            write_epoch(directory, state, epoch)
        write_state(directory, state)
    points = list(history(directory).points())
    assert [point.step for point in points] == steps
    assert [point.step for point in points if point.state is not None] == [steps[-1] - 4, steps[-1] - 2, steps[-1]]


def test_summary_and_units(directory: RunDirectory) -> None:
    write_run(directory)
    summary = history(directory).summary()
    assert list(summary) == ["state_00", "state_01", "state_02"]
    assert summary["state_01"]["test_accuracy_best"] == 62.0
    assert "val_accuracy_pruned" not in summary["state_00"]
    assert summary["state_02"]["kept/heads"] == 2
    assert not [key for key in summary["state_02"] if "group" in key]
    units = list(history(directory).points())[-1].units
    assert units == [
        ["heads", 0, "blocks.0.attn", 3, 1, "0"],
        ["neurons", 0, "blocks.0.mlp", 48, 4, "0-2,5"],
        ["heads", 1, "blocks.1.attn", 3, 1, "0"],
        ["neurons", 1, "blocks.1.mlp", 48, 4, "0-2,5"],
    ]


def test_a_state_without_its_manifest_has_no_table(directory: RunDirectory) -> None:
    write_run(directory)
    (directory.state(0) / "pruned.json").unlink()
    assert [point.units is None for point in history(directory).points() if point.state is not None] == [True, False, False]


def test_identity_depends_on_sweep_and_run_only(directory: RunDirectory) -> None:
    config = read_run(directory.path).config
    about = identity(config, directory)
    assert about.id == identity({**config, "seed": 99}, directory).id
    assert about.id != identity({**config, "name": "other"}, directory).id
    assert about.id != identity(config, RunDirectory(directory.path.with_name("another"))).id
    assert (about.group, about.job_type, about.tags) == ("demo", "digits", ("refill", "custom"))
    pinned = identity({**config, "name": "main"}, RunDirectory(Path("digits-refill-s0-0123456789")))
    assert pinned.id == "0d5e8fb3c00651c4", "a changed id would orphan runs that are already on the server"


def test_two_image_folders_are_two_datasets() -> None:
    labels = {dataset_of({"dataset": {"name": "image_folder", "root": f"/data/{name}"}}) for name in ("birds", "dogs")}
    assert labels == {"image_folder-birds", "image_folder-dogs"}


def test_where_known_images_are_kept_does_not_name_them() -> None:
    assert dataset_of({"dataset": {"name": "cifar10", "root": "/data/archives"}}) == "cifar10"
    elsewhere = {"name": "of_a_package_elsewhere", "root": "/data/archives"}
    assert dataset_of({"dataset": elsewhere}) == "of_a_package_elsewhere-archives"  # here the root may choose the images


def test_each_metric_has_its_axis(directory: RunDirectory) -> None:
    write_run(directory)
    globs = axis_globs(read_run(directory.path).config)
    for point in history(directory).points():
        for key in point.values.keys() - {"epoch", "state"}:
            axes = [axis for axis, pattern in globs if key.startswith(pattern[:-1])]
            assert len(axes) == 1, key
            assert axes[0] in point.values


def test_help_does_not_import_wandb() -> None:
    for arguments in (["--help"], ["panels", "--help"], ["wandb-sync", "--help"]):
        code = (
            "import sys; from prune.cli import main\n"
            f"try: main({arguments})\nexcept SystemExit: pass\n"
            "assert not {'wandb', 'wandb_workspaces', 'torch'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
