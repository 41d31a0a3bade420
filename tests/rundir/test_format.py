"""Files of another version are refused with one sentence, wherever they are met, and stay as they are."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import prune.rundir.checkpoint
from prune.base.errors import UserError
from prune.base.files import read_json
from prune.cli import main
from prune.config import RunConfig
from prune.engine.cell import run_cell
from prune.rundir.directory import RunDirectory
from prune.rundir.format import FORMAT
from prune.rundir.identity import run_directory
from prune.rundir.manifest import read_manifest
from prune.rundir.reader import find_runs
from prune.sweep import status_command
from prune.sweep.entry import finish
from prune.sweep.plan import make_plan
from prune.sweep.summary import print_summary
from tests.conftest import Compose
from tests.engine.runs import RunTiny, equal, final, finished, stop_at
from tests.sweep.sweeps import write_run


def sentence(path: Path, found: int) -> str:
    return (
        f"{path} was written by another version of this program (format {found}; this one reads format 2); read it with that "
        "version, or set another name to start afresh."
    )


def write_old_run(config: RunConfig, **version: int) -> RunDirectory:
    """A run's directory as 0.1 left it: its config.yaml had no `format`; or of the version that is given."""
    directory = write_run(config, epochs=3, status="done")
    directory.config.write_text(yaml.safe_dump({**version, **config.model_dump(mode="json")}))
    return directory


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- a directory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "found"), [({}, 1), ({"format": 1}, 1), ({"format": 3}, 3)])
def test_a_run_does_not_go_on_in_it(compose_tiny: Compose, version: dict[str, int], found: int) -> None:
    config = compose_tiny()
    directory = write_old_run(config, **version)
    before = contents(directory.path)
    outcome = run_cell(config)
    assert (outcome.status, outcome.error) == ("failed", sentence(directory.config, found))
    assert contents(directory.path) == before


def test_a_sweep_is_not_planned_over_it(compose_tiny: Compose) -> None:
    old, new = compose_tiny("seed=1"), compose_tiny("seed=2")
    directory = write_old_run(old)
    with pytest.raises(UserError) as refused:
        make_plan([new, old])
    assert str(refused.value) == sentence(directory.config, 1)
    assert not run_directory(new).path.exists()


def test_a_launch_ends_with_the_sentence_and_with_the_other_runs_rows(
    compose_tiny: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = compose_tiny("seed=1"), compose_tiny("seed=2")
    directory = write_old_run(old)
    shown = io.StringIO()
    print_summary([directory, write_run(new, status="failed")], Console(file=shown, width=140))
    rows = [line.split() for line in shown.getvalue().splitlines() if line.strip().startswith("digits")]
    assert [(row[2], row[-1]) for row in rows] == [("2", "failed")]
    assert finish([run_cell(old)]) == 1
    # rich breaks no line of a failure.
    assert f"error: {directory.path.name}: {sentence(directory.config, 1)}" in capsys.readouterr().err.splitlines()


def test_status_shows_the_other_runs_and_a_row_that_says_why(compose_tiny: Compose) -> None:
    directory = write_old_run(compose_tiny("seed=1"))
    others = [write_run(compose_tiny(f"seed={seed}"), epochs=1, status="failed") for seed in (0, 2)]
    command = [sys.executable, "-m", "prune", "status", str(directory.path.parent), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = {row["run"]: row for row in json.loads(done.stdout)}
    assert sorted(rows) == sorted(run.path.name for run in (directory, *others))
    assert {rows[other.path.name]["status"] for other in others} == {"failed"}
    old = rows[directory.path.name]
    assert (old["status"], old["error"], old["state"]) == ("unreadable", sentence(directory.config, 1), None)
    assert done.stderr == ""


def test_watching_does_not_wait_for_it(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write_old_run(compose_tiny("seed=1"))
    other = write_run(compose_tiny("seed=2"), status="running")
    looks = []

    def later(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            other.status.write_text(json.dumps({"status": "done"}))

    monkeypatch.setattr(status_command.time, "sleep", later)
    assert main(["status", str(directory.path.parent), "--watch"]) == 0
    assert len(looks) == 3


def test_status_of_nothing_else_is_an_error(compose_tiny: Compose, capsys: pytest.CaptureFixture[str]) -> None:
    directory = write_old_run(compose_tiny())
    for path in (directory.path.parent, directory.path):
        assert main(["status", str(path)]) == 1
        shown = capsys.readouterr()
        assert (shown.out, shown.err) == ("", f"error: {sentence(directory.config, 1)}\n")


def test_runs_of_this_version_are_read_back(compose_tiny: Compose) -> None:
    config = compose_tiny()
    directory = write_run(config, status="done")
    assert directory.config.read_text().startswith(f"format: {FORMAT}\n")
    [run], unreadable = find_runs(directory.path.parent)
    assert not unreadable
    assert run.config == config.model_dump(mode="json")  # the version is the file's, not the configuration's


# ---- files of a run -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> Callable[[], RunDirectory]:
    """Make a Refill run that was told to stop in state 2."""

    def make() -> RunDirectory:
        with monkeypatch.context() as patch:
            stop_at(patch, 2, 0, 3)
            outcome = run_tiny("method=refill")
        assert outcome.status == "preempted"
        return outcome.directory

    return make


@pytest.mark.parametrize(("version", "found"), [({}, 1), ({"format": 1}, 1), ({"format": 3}, 3)])
def test_a_checkpoint_is_not_gone_on_from(
    run_tiny: RunTiny, stopped: Callable[[], RunDirectory], monkeypatch: pytest.MonkeyPatch, version: dict[str, int], found: int
) -> None:
    directory = stopped()
    progress = prune.rundir.checkpoint.load_last(directory)
    assert progress is not None
    real = prune.rundir.checkpoint.torch.save

    def save(content: dict[str, Any], file: Any) -> None:
        real({**version, **{key: value for key, value in content.items() if key != "format"}}, file)

    with monkeypatch.context() as patch:
        patch.setattr(prune.rundir.checkpoint.torch, "save", save)
        prune.rundir.checkpoint.save_last(directory, progress)
    before = contents(directory.checkpoints)
    outcome = run_tiny("method=refill")
    assert (outcome.status, outcome.error) == ("failed", sentence(directory.last, found))
    assert read_json(directory.status)["error"] == outcome.error
    assert contents(directory.checkpoints) == before


@pytest.mark.parametrize(("version", "found"), [({}, 1), ({"format": 1}, 1), ({"format": 3}, 3)])
def test_a_complete_state_is_not_gone_on_from(
    run_tiny: RunTiny, stopped: Callable[[], RunDirectory], version: dict[str, int], found: int
) -> None:
    directory = stopped()
    directory.last.unlink()
    directory.previous.unlink()
    about = read_json(directory.manifest(1))
    units = [group.pop("kept") for group in about.pop("groups").values()]  # 0.1 listed them by kind and block
    about.pop("format")
    directory.manifest(1).write_text(json.dumps({**version, **about, "heads": units[::2], "neurons": units[1::2]}))
    before = contents(directory.checkpoints)
    outcome = run_tiny("method=refill")
    assert (outcome.status, outcome.error) == ("failed", sentence(directory.manifest(1), found))
    assert contents(directory.checkpoints) == before
    with pytest.raises(UserError) as refused:
        read_manifest(directory.state(1))
    assert str(refused.value) == outcome.error


def test_complete_states_of_this_version_are_gone_on_from(
    run_tiny: RunTiny, stopped: Callable[[], RunDirectory], tmp_path: Path
) -> None:
    directory = stopped()
    directory.last.unlink()
    directory.previous.unlink()
    again = finished(run_tiny("method=refill"))
    assert "going on from the final model of state 1" in directory.log.read_text()
    whole = finished(run_tiny("method=refill", f"outputs={tmp_path / 'whole'}"))
    assert equal(final(again, 2), final(whole, 2))
