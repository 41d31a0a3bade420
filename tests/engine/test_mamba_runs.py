"""Whole runs of Vision Mambas: stopped and resumed; exported, measured, reported."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest
import torch

import prune
from prune.base.files import read_jsonl
from prune.cli import main
from prune.engine.cell import run_cell
from prune.export.onnx_file import TOLERANCE
from prune.pruning.keepset import KeepSet
from tests.architectures.mambas import HYBRID, PLAIN, architecture, build, hold_at_zero, keep_set, random_lists
from tests.conftest import TINY_RUN, Compose
from tests.engine.runs import equal, final, finished, stop_at
from tests.rundir.models import Saved, raw_images, save_compact

TINY = [
    *(key for key in TINY_RUN if not key.startswith("model.")),
    "model=mamba_hybrid_micro",
    "model.patch_size=4",
    "model.embed_dim=16",
    "model.d_state=4",
    "schedule.states=2",
]


@pytest.mark.parametrize("method", ["refill", "rsst"])
def test_a_stopped_run_goes_on_exactly(compose: Compose, method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = (*TINY, f"method={method}", "model.drop_path_rate=0.2", "optim.decay=matrices")
    whole = finished(run_cell(compose(*keys, f"outputs={tmp_path / 'whole'}")))
    with monkeypatch.context() as patch:
        stop_at(patch, state=1, epoch=1, step=3)
        assert run_cell(compose(*keys)).status != "done"
    resumed = finished(run_cell(compose(*keys)))
    assert resumed.path != whole.path
    assert all(equal(final(resumed, state), final(whole, state)) for state in (0, 1))


def test_a_block_may_lose_all_its_channels(compose: Compose) -> None:
    keys = ("model=mamba_micro", "model.depth=2", "schedule.target=0.97", "method.min_per_block=0", "method.rewind=none")
    directory = finished(run_cell(compose(*TINY, "method=refill", *keys, "model.patch_size=4", "model.embed_dim=16")))
    last = read_jsonl(directory.path / "states.jsonl")[-1]
    assert last["kept"] == {"channels": 2}
    assert main(["report", str(directory.path.parent), "--format", "md"]) == 0
    page = (directory.path.parent / "report" / "report.md").read_text()
    assert "channels kept" in page
    assert "heads" not in page


@pytest.fixture(params=["plain", "hybrid", "an empty block"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Saved:
    model = HYBRID if request.param == "hybrid" else PLAIN
    keep = random_lists(model, 5, "layers.0.mixer" if request.param == "an empty block" else None)
    small, full = build(model), build(model)
    hold_at_zero(full, model, keep)
    kept: KeepSet = keep_set(keep)
    return save_compact(tmp_path / "run", small, full, architecture(model), kept, 1, model)


def test_it_is_loaded_and_exported(saved: Saved) -> None:
    images = raw_images(saved, 4)
    mean, std = torch.tensor([0.3, 0.4]).view(-1, 1, 1), torch.tensor([0.2, 0.25]).view(-1, 1, 1)
    model = prune.load(saved.folder)
    with torch.inference_mode():
        assert torch.equal(model(images), saved.compact(images))
        expected = saved.masked((images - mean) / std)
    assert main(["export", str(saved.folder), "--onnx"]) == 0
    session = onnxruntime.InferenceSession(str(saved.folder / "best.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    assert (torch.from_numpy(found) - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("saved", ["plain"], indirect=True)
def test_its_latency_is_measured(saved: Saved) -> None:
    quick = ["--batch-size", "2", "--repeats", "2", "--seconds", "0", "--warmup", "1", "--threads", "1", "--device", "cpu"]
    assert main(["latency", str(saved.folder), *quick]) == 0
    results = json.loads((saved.folder / "latency.json").read_text())["results"]
    assert {line["variant"] for line in results} == {"dense", "pruned"}
