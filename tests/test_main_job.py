"""The commands that README names, on data small enough for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prune.base.files import read_json, read_jsonl
from prune.engine.cell import run_cell
from tests.conftest import TINY_RUN
from tests.data.cifar_files import write_cifar

ROOT = Path(__file__).resolve().parent.parent


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "launch.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_matrix_runs_and_ends_with_a_table(tmp_path):
    # The demo's four cells, each shortened to a few steps.
    short = [override for override in TINY_RUN if not override.startswith("dataset=")]
    result = launch("-m", *short, "dataset=digits,digit_pairs", "method=refill,rsst", f"outputs={tmp_path}")
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if "done" in line]
    assert [row[:3] for row in rows] == [
        [data, method, "0"] for data in ("digits", "digit_pairs") for method in ("refill", "rsst")
    ]
    runs = list((tmp_path / "demo").glob("*/states.jsonl"))
    assert len(runs) == 4
    assert all(len(read_jsonl(run)) == 3 for run in runs)


def test_the_full_jobs_model_trains_on_cifar_files(compose, tmp_path, monkeypatch):
    write_cifar(tmp_path / "data", "cifar10", monkeypatch, per_class=1)
    small = (
        "schedule.states=2",
        "schedule.epochs=1",
        "optim.batch_size=20",
        "model.pretrained=false",
        "hardware=cpu",
        "hardware.threads=1",
    )
    outcome = run_cell(compose("dataset=cifar10", f"dataset.root={tmp_path / 'data'}", *small))
    assert outcome.status == "done", outcome.error
    dense, pruned = read_jsonl(outcome.directory.states)
    assert (dense["parameters"], dense["macs"]) == (21_342_346, 1_420_309_248)
    assert pruned["kept"] == {"heads": 22, "neurons": 5530}
    groups = read_json(outcome.directory.manifest(1))["groups"]
    heads = [len(group["kept"]) for group in groups.values() if group["kind"] == "heads"]
    assert len(heads) == 12
    assert sum(heads) == 22
    assert min(heads) >= 1


def test_the_plain_command_is_the_reports_recipe(compose):
    plain, report = compose("method=rsst"), compose("experiment=report_vit_small_70p", "method=rsst")
    assert report.model_dump(exclude={"name", "method"}) == plain.model_dump(exclude={"name", "method"})
    assert {key for key in report.method.model_dump() if report.method.model_dump()[key] != plain.method.model_dump()[key]} == {
        "rewind"
    }
    optim, schedule = report.optim, report.schedule
    epochs = schedule.epochs_of(0), schedule.epochs_of(15)
    assert (schedule.states, *epochs, schedule.target, schedule.shape) == (16, 60, 60, 0.7, "geometric")
    assert (optim.name, optim.lr, optim.momentum, optim.weight_decay, optim.batch_size) == ("sgd", 0.01, 0.9, 1e-4, 128)
    assert (optim.lr_schedule, optim.warmup_epochs) == ("constant", 0)
    assert (report.model.pretrained, report.method.rewind) == (True, "init")
    assert report.dataset.augment.model_dump() == {"crop_padding": 4, "flip": True}


def test_photographs_from_a_folder_train_through_the_same_path(compose_tiny, image_folder):
    config = compose_tiny("dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=32", "optim.batch_size=8")
    outcome = run_cell(config)
    assert outcome.status == "done", outcome.error
    assert read_json(outcome.directory.data)["classes"] == ["ant", "bee", "cat"]
    assert read_json(outcome.directory.manifest(2))["data"]["classes"] == ["ant", "bee", "cat"]


def test_a_failing_cell_never_stops_the_others(tmp_path):
    result = launch("-m", *TINY_RUN, "optim.batch_size=5000,128", f"outputs={tmp_path}")
    assert result.returncode == 1
    assert result.stderr.count("optim.batch_size=5000 is larger than the training split") >= 1
    assert "Traceback" not in result.stderr
    assert sorted(line.split()[-1] for line in result.stdout.splitlines() if line.split()[:1] == ["digits"]) == [
        "done",
        "failed",
    ]


@pytest.mark.parametrize("arguments", [("--help",), ("method=rsst", "--cfg", "job")])
def test_hydras_own_flags_work(arguments):
    result = launch(*arguments)
    assert result.returncode == 0
    assert "schedule" in result.stdout
