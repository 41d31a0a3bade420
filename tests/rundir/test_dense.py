"""What fixes a shared state 0, and what of its files is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prune.base.files import read_json
from prune.rundir.dense import DenseDirectory, DenseState, dense_directory, fixed_by, manifest_checksum, read_dense
from tests.conftest import Compose
from tests.engine.runs import RunTiny, finished

SAME = (
    ("method=rsst", "method.criterion=taylor", "method.scope=layer", "method.targets=[heads]", "method.rewind=init"),
    ("method=dense", "schedule.states=2", "schedule.target=0.5", "schedule.shape=linear", "schedule.epochs=3"),
    ("checkpoint.keep=last", "hardware.threads=2", "logger=wandb", "schedule.rates=[0,0.1,0.2]"),
)
"""What cannot be seen in state 0 of a run with `epochs_first=2`."""

OTHER = (
    "seed=1", "schedule.epochs_first=3", "dataset=digit_pairs", "dataset.augment.flip=true", "model.depth=3", "optim.lr=1e-4",
    "optim.precision=bf16",
)  # fmt: skip


@pytest.mark.parametrize("overrides", SAME)
def test_what_only_later_states_read_does_not_count(compose_tiny: Compose, overrides: tuple[str, ...]) -> None:
    assert dense_directory(compose_tiny(*overrides)) == dense_directory(compose_tiny())


@pytest.mark.parametrize("override", OTHER)
def test_what_state_0_reads_counts(compose_tiny: Compose, override: str) -> None:
    one, other = dense_directory(compose_tiny(override)), dense_directory(compose_tiny())
    assert one is not None and other is not None
    assert one.path != other.path and one.path.parent == other.path.parent


def test_epochs_count_as_they_are_not_as_they_are_written(compose_tiny: Compose) -> None:
    written = dense_directory(compose_tiny("schedule.epochs=2", "schedule.epochs_first=2"))
    assert dense_directory(compose_tiny("schedule.epochs=2", "schedule.epochs_first=null")) == written
    assert dense_directory(compose_tiny("schedule.epochs=3", "schedule.epochs_first=null")) != written


def test_each_section_of_the_configuration_is_there_but_the_methods(compose_tiny: Compose) -> None:
    """A section or a key of the schedule that is added later counts, until somebody says that it cannot be seen."""
    assert set(fixed_by(compose_tiny())) == {"seed", "dataset", "model", "optim", "schedule"}
    assert fixed_by(compose_tiny())["schedule"] == {"epochs_of_state_0": 2}


def test_it_can_be_switched_off(compose_tiny: Compose) -> None:
    assert dense_directory(compose_tiny("share_dense=false")) is None


@pytest.fixture
def there(run_tiny: RunTiny, compose_tiny: Compose) -> DenseState:
    finished(run_tiny("method=refill", "method.rewind=epoch:0", "schedule.states=2", "schedule.epochs=1"))
    directory = dense_directory(compose_tiny())
    assert directory is not None
    found = read_dense(directory)
    assert isinstance(found, DenseState)
    return found


def rewritten(directory: DenseDirectory, **changes: Any) -> DenseState | str | None:
    """What is read of a manifest with other content and the checksum of that."""
    content = {**read_json(directory.manifest), **changes}
    content.pop("checksum")
    directory.manifest.write_text(json.dumps({**content, "checksum": manifest_checksum(content)}))
    return read_dense(directory)


def test_the_points_that_it_has(there: DenseState) -> None:
    assert there.lacks(("init", "epoch:0", "epoch:1")) == ["epoch:1"]
    assert there.broken(("init", "epoch:0")) is None


def test_a_manifest_that_is_not_what_was_written(there: DenseState) -> None:
    path = there.directory.manifest
    assert rewritten(there.directory, fixed_by="0" * 64) == f"{path} is of another state"
    assert "written by another version of this program" in str(rewritten(there.directory, format=7))
    assert "between releases" in str(rewritten(there.directory, format=2, fixed_by=there.directory.fixed_by, more=1))
    path.write_text(path.read_text().replace(there.run, "another"))
    assert read_dense(there.directory) == f"{path} is damaged: its checksum does not match"
    path.unlink()
    assert read_dense(there.directory) is None


@pytest.mark.parametrize("text", ["", "[1]", "{}", "\xff", '{"checksum": 1, "format": []}'])
def test_no_manifest_at_all(there: DenseState, text: str) -> None:
    there.directory.manifest.write_text(text, encoding="latin-1")
    assert str(there.directory.manifest) in str(read_dense(there.directory))
