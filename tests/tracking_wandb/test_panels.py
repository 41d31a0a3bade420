"""`panels`: what the saved view holds, and what it asks of the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prune.cli import main
from prune.rundir.reader import read_run
from prune.tracking_wandb.panels import DEFAULT_KEYS, MAX_RUNS, Contents, contents, view_name, workspace
from prune.tracking_wandb.points import History
from tests.tracking_wandb.runs import EPOCHS, KEY, STATES, epoch_line, make_config, make_directory, state_line, write_run
from tests.tracking_wandb.server import WandbServer

pytest_plugins = ["tests.tracking_wandb.fixtures"]
pytestmark = pytest.mark.usefixtures("wandb_environment")

ABOUT = Contents(("cifar10", "digits"), ("method.name", "seed"))


def specification(about: Contents = ABOUT, sweep: str | None = "demo") -> dict[str, Any]:
    return workspace("team", "vit", sweep, about)._to_model().spec.model_dump(by_alias=True, exclude_none=True)["section"]


def sections(section: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {item["name"]: item["panels"] for item in section["panelBankConfig"]["sections"]}


def test_a_section_for_each_dataset_and_one_for_the_runs() -> None:
    panels = sections(specification())
    assert list(panels) == ["cifar10", "digits", "Runs"]
    for dataset in ("cifar10", "digits"):
        for panel in panels[dataset]:
            config = panel["config"]
            assert panel["viewType"] == "Run History Line Plot"
            assert all(metric.startswith(f"{dataset}/") for metric in config["metrics"])
            assert (config["groupBy"], config["aggregate"]) == ("method.value.name", True)
            assert (config["groupAgg"], config["groupArea"]) == ("mean", "stddev")
            assert config["xAxisTitle"]
            assert config["yAxisTitle"]
    by_title = {panel["config"]["chartTitle"]: panel["config"] for panel in panels["digits"]}
    assert by_title["Test accuracy, best epoch"]["xAxis"] == "state"
    assert by_title["Test accuracy against parameters"]["xAxis"] == "state/parameters"
    drawn = {metric for config in by_title.values() for metric in config["metrics"]}
    wanted = {"state/drop", "state/recovery", "state/val_accuracy_before_removal", "epoch/penalty"}
    assert {f"digits/{name}" for name in wanted} <= drawn
    kinds = [panel["viewType"] for panel in panels["Runs"]]
    assert kinds == ["Parallel Coordinates Plot", "Run Comparer"]
    columns = [column["accessor"] for column in panels["Runs"][0]["config"]["columns"]]
    assert columns == [
        "config:method.value.name",
        "config:seed.value",
        "summary:state/parameters",
        "summary:state/test_accuracy_best",
    ]


def test_every_metric_drawn_is_logged(tmp_path: Path) -> None:
    """A panel whose metric nobody logs stays empty without a word."""
    directory = make_directory(tmp_path, make_config())
    write_run(directory)
    history = History.read(read_run(directory.path))
    every_key = dict.fromkeys(("val_loss", "train_accuracy", "images_per_second"), 1.0)
    removal = {"val_accuracy_before_removal": 50.0, "val_accuracy_after_removal": 49.0}
    history.add_epoch(epoch_line(2, EPOCHS - 1) | every_key)
    history.add_state(state_line(STATES - 1) | removal, None)
    logged = list(history.points())[-1].values.keys()
    for panel in sections(specification())["digits"]:
        assert {panel["config"]["xAxis"], *panel["config"]["metrics"]} <= logged


def test_the_view_shows_its_sweep_only() -> None:
    run_set = specification()["runSets"][0]
    assert '"demo"' in json.dumps(run_set["filters"])
    assert '"group"' in json.dumps(run_set["filters"])
    assert "demo" not in json.dumps(specification(sweep=None)["runSets"][0]["filters"])
    assert specification()["settings"]["maxRuns"] == MAX_RUNS


def test_the_same_call_gives_the_same_specification() -> None:
    assert specification() == specification()
    identifiers = [panel["__id__"] for panels in sections(specification()).values() for panel in panels]
    assert len(identifiers) == len(set(identifiers))


def test_a_view_is_known_by_entity_project_and_sweep() -> None:
    names = {view_name(*given) for given in [("e", "p", None), ("e", "p", "s"), ("e", "q", None), ("f", "p", None)]}
    assert len(names) == 4
    assert view_name("e", "p", "s") == view_name("e", "p", "s")


def test_saving_again_updates(
    tmp_path: Path, server: WandbServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(make_directory(tmp_path, make_config()))
    command = ["panels", "--entity", "team", "--project", "vit", "--sweep", "demo", "--outputs", str(tmp_path)]
    assert main(command) == 0
    name = view_name("team", "vit", "demo")
    address = f"{server.url}/team/vit?nw={name.split('-')[1]}"
    assert capfd.readouterr().out == f"created: {address}\n"
    first = server.views[name]
    assert "id" in first
    assert (first["entityName"], first["projectName"], first["type"]) == ("team", "vit", "project-view")
    assert main(command) == 0
    assert capfd.readouterr().out == f"updated: {address}\n"
    assert list(server.views) == [name]
    assert server.views[name] == first, "the same id and the same specification"
    assert [operation for operation in server.operations if operation != "Viewer"] == ["View", "UpsertView2"] * 2
    assert not server.unknown
    assert main([*command, "--dataset", "cifar10"]) == 0
    assert list(sections(json.loads(server.views[name]["spec"])["section"])) == ["cifar10", "Runs"]
    assert server.views[name]["id"] == first["id"]
    assert main(["panels", "--entity", "team", "--project", "vit", "--outputs", str(tmp_path)]) == 0
    assert len(server.views) == 2, "another subject is another view"


def test_datasets_and_keys_come_from_the_runs(tmp_path: Path) -> None:
    for seed in range(2):
        for method in ("refill", "rsst"):
            make_directory(tmp_path, make_config(seed=seed, method__name=method))
    wanted = Contents(("digits",), ("method.name", "seed"))
    assert contents(tmp_path, "demo") == wanted
    old = tmp_path / "demo" / "of_another_version"
    old.mkdir()
    (old / "config.yaml").write_text("name: demo\n")
    assert contents(tmp_path, "demo") == wanted
    assert contents(tmp_path, None) == wanted


def test_a_key_that_varies_beside_method_and_seed_is_pointed_out(
    tmp_path: Path, server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for criterion in ("magnitude", "random"):
        make_directory(tmp_path, make_config(method__criterion=criterion))
    about = contents(tmp_path, None)
    assert about.mixed == ("method.criterion",)
    command = ["panels", "--entity", "team", "--project", "vit", "--outputs", str(tmp_path)]
    assert main(command) == 0
    assert "method.criterion" in capsys.readouterr().err
    assert main([*command, "--group-by", "method.criterion"]) == 0
    assert capsys.readouterr().err == ""
    (view,) = server.views.values()
    panel = sections(json.loads(view["spec"])["section"])["digits"][0]
    assert panel["config"]["groupBy"] == "method.value.criterion"


def test_without_local_runs_every_dataset_is_shown(tmp_path: Path) -> None:
    about = contents(tmp_path, "demo")
    assert {"cifar10", "cifar100", "digits", "digit_pairs"} <= set(about.datasets)
    assert about.keys == DEFAULT_KEYS
    assert about.mixed == ()


def test_errors_are_one_sentence_without_the_key(
    tmp_path: Path, server: WandbServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["panels", "--entity", "team", "--project", "missing", "--outputs", str(tmp_path)]
    server.missing_projects.add("missing")
    assert main(command) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: The view of team/missing was not saved")
    assert error.count("\n") == 1
    assert not server.views
    server.close()
    assert main(command) == 1
    monkeypatch.delenv("WANDB_API_KEY")
    assert main(command) == 1
    error = capfd.readouterr().err
    assert "WANDB_API_KEY" in error
    assert error.count("\n") == 2
    assert KEY not in error
