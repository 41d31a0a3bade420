"""Which runs count as seeds of one configuration, what the groups are called, and who is compared with whom."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from prune.base.errors import UserError
from prune.report import compare
from prune.report.findings import Findings
from prune.report.load import load
from prune.report.tables import accuracy, differences
from prune.report.variants import model_names
from prune.rundir.format import FORMAT
from tests.report.sweep import configuration, state_line, write_flat, write_run


def _labels(sweep: Path) -> list[str]:
    return [variant.label for variant in load([sweep], "dense").variants]


def test_seeds_are_one_group_and_the_baseline_comes_first(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0], 1: [80.0, 82.0]})
    write_flat(tmp_path, "dense", {0: [80.0, 81.0]})
    study = load([tmp_path], "dense")
    assert [(v.label, v.seeds) for v in study.variants] == [("dense", [0]), ("refill", [0, 1])]
    assert [run.key for run in study.runs] == ["R1", "R2", "R3"]


def test_what_cannot_change_a_number_does_not_split_a_group(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, hardware={"device": "cpu"}, name="one", optim__lr=0.01)
    write_flat(tmp_path, "refill", {1: [80.0, 81.0]}, hardware={"device": "cuda"}, name="two", optim__momentum=0.9)
    assert _labels(tmp_path) == ["refill"]


def test_an_integer_where_a_float_is_declared_is_that_float(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, optim__weight_decay=0)
    write_flat(tmp_path, "refill", {1: [80.0, 81.0]}, optim__weight_decay=0.0)
    assert _labels(tmp_path) == ["refill"]


def test_recipes_are_told_apart_in_words(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, recipe={"mix": {"mixup": 0.8}, "erasing": {"prob": 0.25}})
    assert sorted(_labels(tmp_path)) == ["refill · recipe=mixup 0.8 + erasing 0.25", "refill · recipe=none"]


def test_different_configurations_are_never_merged_and_named_by_what_differs(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, method__criterion="taylor")
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, schedule__target=0.5)
    write_flat(tmp_path, "rsst", {0: [80.0, 81.0]})
    assert _labels(tmp_path) == [
        "refill · criterion=magnitude, schedule.target=0.5",
        "refill · criterion=magnitude, schedule.target=0.7",
        "refill · criterion=taylor, schedule.target=0.7",
        "rsst",
    ]


def test_models_of_several_families_are_told_apart_by_the_family(tmp_path: Path) -> None:
    """Their sizes have other keys, none of which says more; within a family sizes that differ are named."""
    vit = {"family": "vit", "name": "custom", "patch_size": 2, "depth": 2, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2.0}
    swin = {
        "family": "swin", "name": "custom", "patch_size": 2, "window_size": 2, "embed_dim": 16, "depths": [1, 1],
        "num_heads": [2, 4], "mlp_ratio": 2.0,
    }  # fmt: skip
    for model in (vit, {**vit, "depth": 3}, swin):
        write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, model=model)
    assert _labels(tmp_path) == [
        "refill · model.depth=2, model.family=vit",
        "refill · model.depth=3, model.family=vit",
        "refill · model.family=swin",
    ]


def test_a_method_is_called_the_same_on_every_dataset(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, method__criterion="taylor")
    config = configuration("cifar10", "refill", schedule__states=2)
    write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(2)])
    assert _labels(tmp_path) == ["refill · criterion=magnitude", "refill · criterion=magnitude", "refill · criterion=taylor"]


def test_folders_of_images_are_different_datasets(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, dataset__name="image_folder", dataset__root="/data/cub")
    write_flat(tmp_path, "refill", {0: [50.0, 51.0]}, dataset__name="image_folder", dataset__root="/data/dogs")
    study = load([tmp_path], "dense")
    assert study.datasets == ["image_folder-cub", "image_folder-dogs"]
    assert [v.label for v in study.variants] == ["refill", "refill"]


def test_a_method_that_is_not_installed_is_reported_all_the_same(tmp_path: Path) -> None:
    write_flat(tmp_path, "magic", {0: [80.0, 81.0], 1: [80.0, 82.0]})
    assert [(v.label, v.seeds) for v in load([tmp_path], "dense").variants] == [("magic", [0, 1])]


def test_a_method_that_is_not_installed_is_on_the_same_dataset_as_the_others(tmp_path: Path) -> None:
    for method in ("dense", "magic"):
        config = configuration("cifar10", method, schedule__states=2)
        write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(2)])
    assert load([tmp_path], "dense").datasets == ["cifar10"]


def test_the_same_run_in_two_sweeps_counts_once_the_furthest(tmp_path: Path) -> None:
    short = configuration(schedule__states=3)
    write_run(tmp_path / "a", short, [state_line(short, 0, 80.0)])
    write_run(tmp_path / "b", short, [state_line(short, s, 81.0) for s in range(3)])
    study = load([tmp_path / "a", tmp_path / "b"], "dense")
    assert [run.path.parent.name for run in study.runs] == ["b"]
    assert len(study.duplicates) == 1


def test_a_sweep_given_twice_counts_once(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    study = load([tmp_path, tmp_path / "."], "dense")
    assert len(study.runs) == 1
    assert study.duplicates == ()


def test_dense_is_the_baseline_whatever_its_pruning_target(tmp_path: Path) -> None:
    write_flat(tmp_path, "dense", {0: [80.0, 81.0]})
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, schedule__target=0.5)
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, schedule__targets={"heads": 0.5, "neurons": 0.8})
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, optim__lr=0.1)
    study = load([tmp_path], "dense")
    found = {v.label: compare.baseline_of(study, v, "dense") for v in study.variants}
    targets = "schedule.targets.heads=0.5, schedule.targets.neurons=0.8"
    nothing = "schedule.targets.heads=null, schedule.targets.neurons=null"
    assert {label: other and other.label for label, other in found.items()} == {
        "dense": None,
        f"refill · optim.lr=0.01, schedule.target=0.5, {nothing}": "dense",
        f"refill · optim.lr=0.01, schedule.target=0.7, {targets}": "dense",
        f"refill · optim.lr=0.1, schedule.target=0.7, {nothing}": None,
    }


def test_a_dense_run_that_rewinds_alike_is_preferred(tmp_path: Path) -> None:
    for rewind in ("none", "init", "epoch:1"):
        write_flat(tmp_path, "dense", {0: [80.0, 81.0]}, method__rewind=rewind)
    for rewind in ("none", "init", "epoch:0"):
        write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, method__rewind=rewind)
    study = load([tmp_path], "dense")
    found = {v.label: compare.baseline_of(study, v, "dense") for v in study.variants}
    assert {label: other and other.label for label, other in found.items()} == {
        "dense · rewind=epoch:1": None,
        "dense · rewind=init": None,
        "dense · rewind=none": None,
        "refill · rewind=epoch:0": "dense · rewind=none",
        "refill · rewind=init": "dense · rewind=init",
        "refill · rewind=none": "dense · rewind=none",
    }


def test_a_baseline_that_is_several_configurations_is_refused(tmp_path: Path) -> None:
    write_flat(tmp_path, "rsst", {0: [80.0, 81.0]})
    for criterion in ("magnitude", "taylor"):
        write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, method__criterion=criterion)
    study = load([tmp_path], "refill")
    labels = "refill · criterion=magnitude; refill · criterion=taylor"
    with pytest.raises(
        UserError, match=rf"^--baseline=refill is more than one configuration on digits; choose one of: {labels}\.$"
    ):
        compare.check_baseline(study, "refill")
    compare.check_baseline(study, "refill · criterion=taylor")
    compare.check_baseline(study, "rsst")


def test_a_baseline_for_each_setting_is_not_refused(tmp_path: Path) -> None:
    for method in ("refill", "rsst"):
        for rate in (0.1, 0.01):
            write_flat(tmp_path, method, {0: [80.0, 81.0]}, optim__lr=rate)
    study = load([tmp_path], "refill")
    compare.check_baseline(study, "refill")
    found = {v.label: compare.baseline_of(study, v, "refill") for v in study.variants if v.method == "rsst"}
    assert {label: other and other.label for label, other in found.items()} == {
        f"rsst · optim.lr={rate}": f"refill · optim.lr={rate}" for rate in ("0.1", "0.01")
    }


def test_lists_in_a_label_are_written_as_they_are_typed(tmp_path: Path) -> None:
    for targets in (["heads"], "all"):
        write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, method__targets=targets)
    assert _labels(tmp_path) == ["refill · targets=[heads]", "refill · targets=all"]


def test_targets_by_kind_are_one_respect(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, schedule__targets={"heads": 0.5, "neurons": 0.8})
    assert len(compare.pairs(load([tmp_path], "dense"), "digits", "dense")) == 1


def test_only_what_differs_in_one_respect_is_paired(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    write_flat(tmp_path, "rsst", {0: [80.0, 81.0]})
    write_flat(tmp_path, "rsst", {0: [80.0, 81.0]}, optim__lr=0.1)
    pairs = compare.pairs(load([tmp_path], "dense"), "digits", "dense")
    assert [pair.label for pair in pairs] == ["refill − rsst · optim.lr=0.01", "rsst · optim.lr=0.01 − rsst · optim.lr=0.1"]


def test_of_many_pairs_those_with_the_baseline_come_first_and_the_others_are_in_a_table_too(tmp_path: Path) -> None:
    write_flat(tmp_path, "dense", {0: [80.0, 81.0]})
    for criterion in ("magnitude", "taylor", "activation", "random", "remaining"):
        write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, method__criterion=criterion)
    findings = Findings(load([tmp_path], "dense"), "dense")
    assert len(findings.pairs("digits")) == 15
    assert {pair.second.label for pair in findings.leading_pairs("digits")} == {"dense"}
    first, second = differences.leading(findings, "digits"), differences.others(findings, "digits")
    by_state, columns = differences.by_state(findings, "digits"), accuracy.by_state(findings, "digits")
    assert first is not None
    assert second is not None
    assert by_state is not None
    assert columns is not None
    assert [row[0] for row in first.rows][:5] == [pair.label for pair in findings.leading_pairs("digits")]
    assert len(second.rows) == 10
    assert all("dense" not in row[0] for row in second.rows)
    assert {row[0] for row in by_state.rows} == {pair.label for pair in findings.pairs("digits")}
    assert sum("−" in column for column in columns.columns) == 5


def test_an_unreadable_configuration_does_not_hide_the_other_runs(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    bare = yaml.safe_dump({"format": FORMAT, "seed": 0, "dataset": {}})
    for name, text in (("empty", ""), ("cut", "dataset: {name: dig"), ("bare", bare)):
        _write_config(tmp_path / name, text)
    study = load([tmp_path], "dense")
    assert len(study.runs) == 1
    assert sorted(path.name for path in study.unreadable) == ["bare", "cut", "empty"]
    assert study.unreadable[tmp_path / "bare"].endswith("config.yaml is damaged: dataset.name is missing")


@pytest.mark.parametrize("version", [{}, {"format": FORMAT - 1}, {"format": FORMAT + 1}])
def test_runs_of_another_version_are_left_out_with_one_sentence(tmp_path: Path, version: dict[str, int]) -> None:
    text = yaml.safe_dump({**version, **configuration()})
    _write_config(tmp_path / "other", text)
    with pytest.raises(UserError, match=r"^no run of .* could be read \(other: .*written by another version .*\)\.$"):
        load([tmp_path], "dense")
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    study = load([tmp_path], "dense")
    assert [run.record.config["method"]["name"] for run in study.runs] == ["refill"]
    assert "was written by another version of this program (format" in study.unreadable[tmp_path / "other"]


def _write_config(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "config.yaml").write_text(text)


def test_a_sweep_without_runs_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no runs"):
        load([tmp_path], "dense")
    with pytest.raises(UserError, match="not a folder"):
        load([tmp_path / "nowhere"], "dense")


def test_models_are_called_by_their_family_and_what_tells_relatives_apart() -> None:
    swin = {"model.family": "swin", "model.name": "custom", "model.depths": (2, 2), "method.name": "rsst"}
    tiny, small = (
        {"model.family": "vit", "model.name": f"vit_{size}", "model.embed_dim": d} for size, d in (("t", 1), ("s", 2))
    )
    assert model_names([swin, tiny, small, swin]) == ["swin", "vit · name=vit_t", "vit · name=vit_s", "swin"]
    deep = {**small, "model.depth": 3}
    assert model_names([small, deep]) == ["vit · depth=null", "vit · depth=3"]
    assert model_names([small, {**small, "method.name": "rsst"}]) == ["vit", "vit"]
