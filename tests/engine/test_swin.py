"""Whole runs of a small Swin: without floors; killed and resumed; what they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch

import prune
from prune.base.files import read_json, read_jsonl
from prune.cli import main
from prune.engine.cell import Outcome, run_cell
from prune.rundir.reader import read_run
from prune.tracking_wandb.points import History
from tests.conftest import Compose
from tests.engine.durability import differences, kill_and_resume, run_to_end
from tests.engine.runs import finished, stop_at

SWIN = (
    "experiment=demo",
    "dataset=digits",
    "model=swin_micro",
    "model.embed_dim=8",
    "model.num_heads=[2,4]",
    "model.mlp_ratio=1",
    "schedule.states=3",
    "schedule.epochs=2",
    "schedule.epochs_first=1",
    "optim.batch_size=256",
    "hardware=cpu",
    "hardware.threads=1",
)
"""12 heads and 48 neurons in two stages of two blocks; a run of a second or two."""

Run = Callable[..., Outcome]


@pytest.fixture
def run(compose: Compose) -> Run:
    return lambda *overrides: run_cell(compose(*SWIN, *overrides))


WITHOUT_FLOOR = ("method.min_per_block=0", "schedule.rates=[0,0.8,0.95]")
"""1 head and 2 neurons stay: most blocks lose a branch, some both."""


@pytest.fixture
def emptied(run: Run) -> Path:
    path = finished(run("method=refill", *WITHOUT_FLOOR)).path
    groups = read_jsonl(path / "states.jsonl")[-1]["groups"]
    assert sum(count == 0 for name, count in groups.items() if name.endswith("attn")) == 3
    return path


def test_blocks_without_heads_load_and_are_exported(emptied: Path) -> None:
    model = prune.load(emptied)
    images = torch.rand(5, 1, 8, 8)
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (model.manifest.data.mean, model.manifest.data.std))
    with torch.inference_mode():
        expected = model((images - mean) / std)
    assert main(["export", str(emptied), "--onnx"]) == 0
    (file,) = emptied.glob("checkpoints/state_02/*.onnx")
    (found,) = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, {"images": images.numpy()})
    assert (torch.from_numpy(found) - expected).abs().max() <= 1e-4 * expected.abs().max()
    quick = ["--batch-size", "2", "--repeats", "2", "--seconds", "0", "--warmup", "1", "--threads", "1", "--device", "cpu"]
    assert main(["latency", str(emptied), *quick]) == 0
    assert {line["variant"] for line in json.loads((file.parent / "latency.json").read_text())["results"]} == {
        "dense",
        "pruned",
    }


def test_the_report_and_wandb_call_blocks_and_kinds_by_name(emptied: Path) -> None:
    assert main(["report", str(emptied.parent)]) == 0
    assert "stage 1, block 0" in (emptied.parent / "report/report.md").read_text()
    last = list(History.read(read_run(emptied)).points())[-1].values
    assert {key: value for key, value in last.items() if key.startswith("state/kept/")} == {
        "state/kept/heads": 1, "state/kept/neurons": 2,
    }  # fmt: skip


@pytest.mark.parametrize(("state", "step"), [(1, 2), (2, 3)])
def test_stopped_within_a_state_it_goes_on_exactly(
    run: Run, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: int, step: int
) -> None:
    """Also where blocks have no heads: soft and hard methods, AdamW's moments under way."""
    overrides = ("method=rsst", *WITHOUT_FLOOR)
    whole = run_cell(compose(*SWIN, *overrides, f"outputs={tmp_path / 'whole'}"))
    stop_at(monkeypatch, state, 1, step)
    stopped = run(*overrides)
    assert stopped.status == "preempted"
    monkeypatch.undo()
    assert run(*overrides).status == "done"
    assert differences(finished(whole).path, stopped.directory.path) == []


def test_killed_and_resumed_equals_undisturbed(tmp_path: Path) -> None:
    overrides = [*SWIN[:-1], "method=refill", *WITHOUT_FLOOR, "schedule.epochs=6"]
    whole = run_to_end(tmp_path / "whole", overrides)
    killed, landed = kill_and_resume(tmp_path / "killed", overrides, kills=1, longest=0.5)
    assert landed == 1
    assert differences(whole, killed) == []


def test_dense_trains_all_units(run: Run) -> None:
    directory = finished(run("method=dense"))
    assert [line["kept"] for line in read_jsonl(directory.path / "states.jsonl")] == [{"heads": 12, "neurons": 48}] * 3
    assert (read_json(directory.status) or {})["status"] == "done"
