"""The report takes kinds, blocks and sizes from the runs' own family of models, whatever it is."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prune.base.files import write_json
from prune.base.registries import ARCHITECTURES
from prune.cli import main
from prune.report.anomalies import find
from prune.report.conclusions import conclude
from prune.report.figures.style import styled
from prune.report.figures.survival import heat_map
from prune.report.findings import Findings
from prune.report.load import load
from prune.report.survival import survival
from prune.report.tables import pruning, size
from prune.rundir.directory import RunDirectory
from tests.report.family import MODEL
from tests.report.handmade import line, rows
from tests.report.sweep import configuration, state_line, structure_of, write_run

KEPT = {0: [[40, 24, 10], [30, 12, 4], [12, 8, 2]], 1: [[40, 24, 10], [20, 20, 6], [16, 5, 1]]}
"""Seed → state → neurons that refill keeps in each block: the same number in all, elsewhere, so of another size."""


@pytest.fixture(autouse=True)
def _pyramid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES.table, "pyramid", "tests.report.family:Pyramid")


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two seeds of a dense and of a pruned pyramid."""
    for seed, kept in KEPT.items():
        _write(tmp_path, "dense", seed, [KEPT[0][0]] * 3)
        _write(tmp_path, "refill", seed, kept)
    return tmp_path


def _write(sweep: Path, method: str, seed: int, kept: list[list[int]]) -> Path:
    config = configuration(method=method, seed=seed, model=copy.deepcopy(MODEL))
    lines = [
        state_line(config, state, 80.0 + state + seed, {f"blocks.{block}": n for block, n in enumerate(blocks)})
        for state, blocks in enumerate(kept)
    ]
    units = {state: {f"blocks.{b}": list(range(n)) for b, n in enumerate(blocks)} for state, blocks in enumerate(kept)}
    return write_run(sweep, config, lines, kept=units)


def _findings(sweep: Path) -> Findings:
    return Findings(load([sweep], "dense"), "dense")


def _sizes(blocks: list[int], classes: int = 10) -> dict[str, tuple[int, int]]:
    """Part → (parameters, MACs) of a pyramid, matrix by matrix."""
    neurons = other = products = 0
    for block, units in enumerate(blocks):
        before, after = MODEL["features"][block : block + 2]
        up, down = np.zeros((units, before)), np.zeros((after, units))
        neurons += up.size + units + down.size
        products += up.size + down.size
        other += after
    classifier = np.zeros((classes, MODEL["features"][-1]))
    other += classifier.size + classes
    return {
        "neurons": (neurons, products),
        "other": (other, classifier.size),
        "total": (neurons + other, products + classifier.size),
    }


@pytest.mark.parametrize(("table", "which"), [(size.parameters, 0), (size.macs, 1)])
def test_sizes_by_part_are_sums_over_blocks_of_different_width(sweep: Path, table: Any, which: int) -> None:
    found = table(_findings(sweep), "digits")
    assert list(found.columns) == ["method", "state", "neurons", "other", "total", "compression", "runs"]
    dense = {part: sizes[which] for part, sizes in _sizes(KEPT[0][0]).items()}
    for state in range(3):
        exact = line(found, variant="refill", state=state)
        by_seed = [{part: sizes[which] for part, sizes in _sizes(kept[state]).items()} for kept in KEPT.values()]
        for part in ("neurons", "other", "total"):
            first, second = (sizes[part] for sizes in by_seed)
            assert exact[f"{part}_mean"] == (first + second) / 2
            assert exact[f"{part}_std"] == pytest.approx(abs(first - second) / math.sqrt(2))
        assert exact["compression"] == pytest.approx(dense["total"] / exact["total_mean"])
        assert line(found, variant="dense", state=state)["total_mean"] == dense["total"]
    assert rows(found)[0]["neurons"].endswith("(100.0 %)")


def test_nothing_is_found_wrong_with_it_and_its_size_is_in_the_conclusions(sweep: Path) -> None:
    findings = _findings(sweep)
    assert [found for found in find(findings.study) if found.kind == "numbers"] == []
    total = [_sizes(kept[2])["total"][0] for kept in KEPT.values()]
    share = 100 * sum(total) / 2 / _sizes(KEPT[0][0])["total"][0]
    assert f"refill in state 2 ({share:.1f} % of the parameters) against dense" in conclude(findings, "digits")[0]


def test_recorded_parameters_are_checked_by_block(tmp_path: Path) -> None:
    """As many neurons as recorded, in blocks where they cost something else."""
    config = configuration(model=copy.deepcopy(MODEL), schedule__states=2)
    lines = [state_line(config, 0, 80.0), state_line(config, 1, 80.0, dict(zip(_names(), (12, 8, 2), strict=True)))]
    lines[1]["groups"] = dict(zip(_names(), (16, 5, 1), strict=True))
    write_run(tmp_path, config, lines)
    (found,) = find(load([tmp_path], "dense"))
    recorded, made = (_sizes(blocks)["total"][0] for blocks in ([12, 8, 2], [16, 5, 1]))
    assert found.message == f"states.jsonl records {recorded} parameters; its units make {made}"


def _names() -> list[str]:
    return [f"blocks.{block}" for block in range(len(MODEL["widths"]))]


def test_retention_has_a_column_for_the_kind(sweep: Path) -> None:
    found = size.retention(_findings(sweep), "digits")
    (dense, refill) = rows(found)
    assert list(dense)[2:5] == ["neurons", "parameters", "MACs"]
    assert (dense["neurons"], refill["neurons"]) == ("100.0", f"{100 * 22 / 74:.1f}")
    parameters = [_sizes(kept[2])["total"][0] / _sizes(kept[0])["total"][0] for kept in KEPT.values()]
    assert line(found, variant="refill")["parameters_mean"] == pytest.approx(100 * sum(parameters) / 2)


def test_survival_is_a_share_of_each_blocks_own_width(sweep: Path) -> None:
    findings = _findings(sweep)
    refill = findings.study.variants[1]
    found = survival(refill)
    assert found is not None
    assert (found.kinds, found.blocks) == (["neurons"], [0, 1, 2])
    mean = [[(a + b) / 2 for a, b in zip(*blocks, strict=True)] for blocks in zip(*KEPT.values(), strict=True)]
    assert found.fraction("neurons").tolist() == [
        [mean[state][block] / width for state in range(3)] for block, width in enumerate(MODEL["widths"])
    ]
    cells = [row["neurons kept"] for row in rows(pruning.per_block(findings, "digits"))]
    assert cells == ["14.0 ± 2.8 of 40", "6.5 ± 2.1 of 24", "1.5 ± 0.7 of 10"]


def test_the_whole_report_speaks_of_its_kind_only(sweep: Path) -> None:
    assert main(["report", str(sweep)]) == 0
    out = sweep / "report"
    assert (out / "figures" / "survival-digits-refill.png").stat().st_size > 10_000
    states = pd.read_csv(out / "tables" / "states.csv")
    assert [column for column in states if column.startswith("kept.")] == ["kept.neurons"]
    pruned = states[(states["variant"] == "refill") & (states["seed"] == 0)]
    assert list(pruned["kept.neurons"]) == [sum(blocks) for blocks in KEPT[0]]
    for name in ("report.md", "report.html"):
        text = re.sub(r'base64,[^"]*', "", (out / name).read_text())
        assert "neurons kept" in text
        assert "heads" not in text


def test_families_of_different_kinds_stand_in_one_table(sweep: Path) -> None:
    config = configuration(method="rsst", schedule__states=3)
    dense = {name: list(range(units)) for name, units in structure_of(config).dense.items()}
    last = {name: units[: len(units) // 2] for name, units in dense.items()}
    lines = [state_line(config, s, 80.0, {name: len(units) for name, units in kept.items()})
             for s, kept in enumerate([dense, dense, last])]  # fmt: skip
    write_run(sweep, config, lines, kept={2: last})
    findings = _findings(sweep)
    by_method = {(row["method"].split()[0], row["state"]): row for row in rows(size.parameters(findings, "digits"))}
    assert by_method["refill", "2"]["heads"] == "–"
    assert by_method["rsst", "2"]["heads"].endswith(" %)")
    assert list(by_method["rsst", "2"])[2:6] == ["neurons", "heads", "other", "total"]  # the dense pyramid comes first
    retained = {row["method"].split()[0]: row for row in rows(size.retention(findings, "digits"))}
    assert (retained["refill"]["heads"], retained["rsst"]["heads"]) == ("–", f"{100 * 4 / 12:.1f}")
    blocks = {(row["method"].split()[0], row["block"]): row for row in rows(pruning.per_block(findings, "digits"))}
    assert (blocks["refill", "0"]["heads kept"], blocks["rsst", "3"]["heads kept"]) == ("–", "1.0 of 3")


def test_a_kind_that_not_every_block_has(tmp_path: Path) -> None:
    config = configuration(schedule__states=2)
    folder = write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(2)])
    for state, gates in enumerate([[0, 1, 2, 3], [2]]):
        neurons = {f"mlp.{block}": ("neurons", block, 2, [block]) for block in range(2)}
        _write_groups(folder, state, {**neurons, "gate": ("gates", 1, 4, gates)})
    (variant,) = load([tmp_path], "dense").variants
    found = survival(variant)
    assert found is not None
    np.testing.assert_array_equal(found.fraction("gates"), [[np.nan, np.nan], [1.0, 0.25]])
    assert [row["gates kept"] for row in rows(pruning.per_block(_findings(tmp_path), "digits"))] == ["–", "1.0 of 4"]
    with styled():
        figure = heat_map(variant, "gates")
    assert figure is not None
    assert figure.name == "survival-gates"


def _write_groups(folder: Path, state: int, groups: Mapping[str, tuple[str, int, int, list[int]]]) -> None:
    """A manifest that has only what says which units are kept."""
    path = RunDirectory(folder).manifest(state)
    path.parent.mkdir(parents=True)
    keys = ("kind", "block", "units", "kept")
    write_json(path, {"groups": {name: dict(zip(keys, values, strict=True)) for name, values in groups.items()}})


@pytest.mark.usefixtures("undrawn")
def test_a_family_that_is_not_installed_is_reported_without_its_sizes_by_part(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ARCHITECTURES.table, "pyramid")
    findings = _findings(sweep)
    assert {variant.structure for variant in findings.study.variants} == {None}
    assert size.parameters(findings, "digits") is None
    assert rows(size.retention(findings, "digits"))[1]["neurons"] == f"{100 * 22 / 74:.1f}"
    assert len(rows(pruning.per_block(findings, "digits"))) == 3
    assert main(["report", str(sweep), "--format", "md"]) == 0
    assert "Size by part: not of dense, refill; the family" in (sweep / "report" / "report.md").read_text()


@pytest.mark.parametrize("noted", ["manifest", "data.json", "nowhere"])
def test_the_classes_of_a_folder_of_images_are_those_that_the_run_found(tmp_path: Path, noted: str) -> None:
    names = ["wren", "robin", "tit"]
    config = configuration(model=copy.deepcopy(MODEL), schedule__states=2)
    config["dataset"] |= {"name": "image_folder", "root": "/data/birds", "classes": None}
    lines = [state_line(config, s, 80.0, classes=len(names)) for s in range(2)]
    kept = {1: {name: list(range(units)) for name, units in lines[1]["groups"].items()}} if noted == "manifest" else None
    folder = write_run(tmp_path, config, lines, kept=kept, classes=names)
    if noted == "data.json":
        write_json(RunDirectory(folder).data, {"mean": [0.5], "std": [0.5], "classes": names, "fingerprint": None})
    findings = _findings(tmp_path)
    assert findings.study.datasets == ["image_folder-birds"]
    assert findings.anomalies == []
    table = size.parameters(findings, "image_folder-birds")
    if noted == "nowhere":
        assert table is None
    else:
        assert line(table, state=0)["total_mean"] == _sizes(MODEL["widths"], classes=3)["total"][0]
