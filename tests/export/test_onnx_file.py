"""ONNX: the file's logits are torch's, from raw images, at any batch size, with and without branches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch

import prune
from prune.base.errors import UserError
from prune.cli import main
from prune.export import onnx_file
from prune.export.onnx_file import TOLERANCE, write_onnx
from tests.rundir.models import HEADS, NEURONS, Saved, edit_manifest, raw_images, save_pruned


def _normalised(saved: Saved, images: torch.Tensor) -> torch.Tensor:
    channels = saved.architecture.channels
    mean = torch.tensor([0.3, 0.4, 0.5][:channels]).view(-1, 1, 1)
    std = torch.tensor([0.2, 0.25, 0.3][:channels]).view(-1, 1, 1)
    return (images - mean) / std


@pytest.mark.parametrize(
    ("heads", "neurons", "channels"),
    [(HEADS, NEURONS, 3), (HEADS, NEURONS, 1), ([[], [1]], [[2], []], 3), ([[], []], [[], []], 1)],
    ids=["rgb", "grey", "a block without heads, another without neurons", "no branches at all"],
)
def test_logits_are_torchs(tmp_path: Path, capsys: Any, heads: Any, neurons: Any, channels: int) -> None:
    saved = save_pruned(tmp_path / "run", heads, neurons, channels=channels)
    assert main(["export", str(saved.folder), "--onnx"]) == 0
    assert "logits differ from torch's by at most" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(saved.folder / "best.onnx"), providers=["CPUExecutionProvider"])
    for batch in (1, 2, 7):
        images = raw_images(saved, batch)
        (found,) = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            expected = saved.masked(_normalised(saved, images))
        assert (torch.from_numpy(found) - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_the_file_is_valid_says_what_it_is_and_names_no_source(tmp_path: Path) -> None:
    saved = save_pruned(tmp_path / "run")
    out = tmp_path / "model.onnx"
    assert main(["export", str(saved.folder), "--onnx", "--out", str(out), "--which", "final"]) == 0
    proto = onnx.load(out)
    onnx.checker.check_model(proto, full_check=True)
    about = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(about["classes"]) == ["a", "b", "c", "d", "e"]
    assert about["input"] == "RGB"
    assert about["run"] == "run"
    assert str(Path(torch.__file__).parent).encode() not in out.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["model.onnx"]


def test_exporting_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    saved = save_pruned(tmp_path / "run", heads=[[], [1]])
    model = prune.load(saved.folder)
    images, random = raw_images(saved), torch.get_rng_state()
    before = model(images)
    write_onnx(model, model.manifest, tmp_path / "model.onnx")
    assert torch.equal(model(images), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert list(model.state_dict()) == list(saved.compact.state_dict())


def test_a_file_that_disagrees_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save_pruned(tmp_path / "run", heads=[[], []], neurons=[[], []])
    model, out = prune.load(saved.folder), tmp_path / "out" / "model.onnx"
    out.parent.mkdir()
    out.write_bytes(b"the file before")
    content = onnx_file.to_onnx(model, model.manifest)

    def other_bias(*_: object) -> bytes:
        proto = onnx.load_from_string(content)
        for tensor in proto.graph.initializer:
            if tensor.name.endswith("head.bias"):
                tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + 0.1, tensor.name))
        return bytes(proto.SerializeToString())

    monkeypatch.setattr(onnx_file, "to_onnx", other_bias)
    with pytest.raises(UserError, match=r"was not written: its logits differ from torch's by 0\.1"):
        write_onnx(model, model.manifest, out)
    assert out.read_bytes() == b"the file before"
    assert list(out.parent.iterdir()) == [out]


def test_what_cannot_be_exported_is_one_sentence(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save_pruned(tmp_path / "run")
    folder = str(saved.folder)
    assert main(["export", folder]) == 1
    assert "--onnx" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "nowhere"), "--onnx"]) == 1
    assert "does not exist" in capsys.readouterr().err
    edit_manifest(saved.folder, lambda content: content.update(format=1))
    assert main(["export", folder, "--onnx"]) == 1
    assert "pruned.json was written by another version of this program (format 1; " in capsys.readouterr().err
    edit_manifest(saved.folder, lambda content: content.update(format=2))
    monkeypatch.setattr(onnx_file, "to_onnx", lambda *_: b"")
    assert main(["export", folder, "--onnx", "--out", str(tmp_path / "missing" / "model.onnx")]) == 1
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["export", folder, "--onnx"]) == 1
    assert "pip install 'vit-prune[onnx]'" in capsys.readouterr().err
