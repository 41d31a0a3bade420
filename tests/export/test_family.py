"""A family of another package: its models come back whole, and are exported and measured, by its groups alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import onnxruntime
import pytest
import torch

import prune
from prune.architectures.base import make_architecture
from prune.architectures.build import restore_model
from prune.base.errors import UserError
from prune.base.registries import ARCHITECTURES
from prune.cli import main
from prune.export.onnx_file import TOLERANCE
from prune.pruning.keepset import KeepSet
from tests.export.layered import Layered, LayeredNet
from tests.rundir.models import Saved, randomise, raw_images, save_compact

MODEL = {"family": "layered", "name": "custom", "dim": 6, "widths": [7, 4, 3]}
KEPT = {"layers.0": [1, 5, 6], "layers.1": [], "layers.2": []}
"""The first layer narrower; the second loses its branch but for the bias; the third, which has none, altogether."""


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Saved:
    monkeypatch.setitem(ARCHITECTURES.table, "layered", "tests.export.layered:Layered")
    architecture = make_architecture(MODEL, (4, 5), 2, 5)
    assert isinstance(architecture, Layered)
    torch.manual_seed(3)
    model = architecture.create()
    assert sum(parameter.numel() for parameter in model.parameters()) == architecture.structure.parameters()
    randomise(model)
    model.register_buffer("offset", torch.randn(6))  # one that the checkpoint holds
    masked = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, kept in KEPT.items():
            reader = masked.get_parameter(f"{name}.down.weight")
            for unit in set(range(reader.shape[1])) - set(kept):
                reader[:, unit] = 0
    return save_compact(tmp_path / "run", model.eval(), masked, architecture, KeepSet.from_lists(KEPT), 1, MODEL)


def test_a_family_that_is_not_installed_is_named_and_is_no_damage(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ARCHITECTURES.table, "layered")
    with pytest.raises(UserError, match=r"pruned\.json: model\.family='layered' is not known; choose one of"):
        prune.load(saved.folder)


def test_buffers_that_no_file_holds_come_back(saved: Saved) -> None:
    before = torch.get_rng_state()
    model = prune.load(saved.folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(model) is LayeredNet
    assert "gains" not in model.state_dict()
    assert torch.equal(model.gains, saved.masked.gains)
    assert torch.equal(model.order, saved.masked.order)
    assert torch.equal(model.offset, saved.masked.offset)
    assert model.pretrained_cfg["classifier"] == "fc"
    assert model.pretrained_cfg["input_size"] == (2, 4, 5)
    images = raw_images(saved)
    with torch.inference_mode():
        found, compact, masked = model(images), saved.compact(images), saved.masked(images)
    assert torch.equal(found, compact)
    assert (found - masked).abs().max() <= 1e-5 * masked.abs().max()


def test_a_restored_model_has_them_too(saved: Saved) -> None:
    counts = {name: len(kept) for name, kept in KEPT.items()}
    model = restore_model(saved.architecture, counts, saved.compact.state_dict(), torch.device("cpu"))
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert torch.equal(model.gains, saved.masked.gains)
    assert "gains" not in model.state_dict()
    images = raw_images(saved)
    assert torch.equal(model.eval()(images), saved.compact(images))


def test_export_and_latency_go_by_the_groups(saved: Saved) -> None:
    assert main(["export", str(saved.folder), "--onnx"]) == 0
    session = onnxruntime.InferenceSession(str(saved.folder / "best.onnx"), providers=["CPUExecutionProvider"])
    images = raw_images(saved, 4)
    (found,) = session.run(None, {"images": images.numpy()})
    mean, std = torch.tensor([0.3, 0.4]).view(-1, 1, 1), torch.tensor([0.2, 0.25]).view(-1, 1, 1)
    with torch.inference_mode():
        expected = saved.masked((images - mean) / std)
    assert (torch.from_numpy(found) - expected).abs().max() <= TOLERANCE * expected.abs().max()

    quick = ["--batch-size", "2", "--repeats", "2", "--seconds", "0", "--warmup", "1", "--threads", "1", "--device", "cpu"]
    assert main(["latency", str(saved.folder), *quick]) == 0
    results = json.loads((saved.folder / "latency.json").read_text())["results"]
    assert [(line["engine"], line["variant"]) for line in results] == [
        (engine, variant) for engine in ("torch", "onnxruntime") for variant in ("dense", "pruned")
    ]
