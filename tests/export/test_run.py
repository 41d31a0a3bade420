"""Taking a real run's model away: what the run recorded is what the loaded model and the example in docs/ give."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor

import prune
from prune.cli import main
from prune.data.digits import Digits, DigitsOptions
from prune.engine.cell import Outcome
from prune.export.onnx_file import RawImages
from prune.pruning.keepset import KeepSet
from prune.rundir.checkpoint import load_last
from prune.rundir.directory import RunDirectory
from prune.rundir.manifest import Manifest
from prune.rundir.reader import read_run
from tests.architectures.vits import Shape, placed, units_of

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "classify_folder.py"


@pytest.fixture
def run(run_tiny: Callable[..., Outcome]) -> RunDirectory:
    outcome = run_tiny("method=refill", "schedule.states=2")
    assert outcome.status == "done", outcome.error
    return outcome.directory


def _test_split(run: RunDirectory) -> tuple[torch.Tensor, torch.Tensor]:
    config = read_run(run.path).config["dataset"]
    split = Digits(DigitsOptions.model_validate(config)).load().test
    return torch.from_numpy(split.images), torch.from_numpy(split.labels)


def _full_size(small: dict[str, Tensor], dense: dict[str, Tensor], manifest: Manifest) -> dict[str, Tensor]:
    """The compact model's tensors, put back into full-size tensors that are zero elsewhere."""
    options, data = manifest.architecture.options, manifest.data
    shape = Shape(
        data.image_size, options.patch_size, data.channels, len(data.classes), options.embed_dim, options.depth,
        options.num_heads, options.mlp_hidden, options.class_token,
    )  # fmt: skip
    kept = {name: list(group.kept) for name, group in manifest.groups.items()}
    result = dict(small)
    for name, dim, index in placed(shape, units_of(KeepSet.from_lists(kept))):
        result[name] = torch.zeros_like(dense[name]).index_copy(dim, torch.tensor(index), small[name])
    return result


def test_the_loaded_model_is_the_runs(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images, labels = _test_split(run)
    progress = load_last(run)
    assert progress is not None

    # The final model: the tensors that ended the run, and the same in the full-size model with zeros elsewhere.
    final = prune.load(run.path, "final")
    manifest = final.manifest
    assert set(final.state_dict()) == set(progress.model)
    assert all(torch.equal(tensor, progress.model[name]) for name, tensor in final.state_dict().items())
    masked = manifest.architecture.create().eval()
    masked.load_state_dict(_full_size(progress.model, masked.state_dict(), manifest))
    raw = images.float() / 255
    with torch.inference_mode():
        small, full = RawImages(final, manifest)(raw), RawImages(masked, manifest)(raw)
    assert (small - full).abs().max() <= 1e-5 * full.abs().max()

    # Both models: the accuracy that the manifest and states.jsonl state.
    line = json.loads(run.states.read_text().splitlines()[-1])
    for which in ("best", "final"):
        model = prune.load(run.path, which)
        with torch.inference_mode():
            right = RawImages(model, manifest)(raw).argmax(dim=1) == labels
        accuracy = 100 * right.double().mean().item()
        assert accuracy == pytest.approx(line[f"test_accuracy_{which}"])
        assert accuracy == pytest.approx(model.manifest.accuracy[which].test)

    # The example in docs/, on the same images as files.
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "images" / str(int(label))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{number}.png")
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(run.path), str(tmp_path / "images"), "--device", "cpu"])
    capsys.readouterr()
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(labels) + 1
    assert printed[-1] == f"accuracy: {line['test_accuracy_best']:.2f} % of {len(labels)} images"


def test_a_run_that_took_its_state_0_over_is_exported_as_any_other(run_tiny: Callable[..., Outcome], tmp_path: Path) -> None:
    """Its dense model too: the file gives the accuracy that the line says, which another run has measured."""
    run_tiny("method=dense", "schedule.states=2")
    run = run_tiny("method=refill", "schedule.states=2").directory
    assert read_run(run.path).state_0_of != run.path.name
    shutil.rmtree(run.path.parent / ".dense")
    images, labels = _test_split(run)
    for state, line in enumerate(read_run(run.path).states):
        out = tmp_path / f"{state}.onnx"
        assert main(["export", str(run.state(state)), "--onnx", "--out", str(out)]) == 0
        about = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
        assert (about["run"], about["state"]) == (run.path.name, str(state))
        session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        (logits,) = session.run(None, {"images": (images.float() / 255).numpy()})
        assert 100 * (logits.argmax(1) == labels.numpy()).mean() == pytest.approx(line["test_accuracy_best"])
