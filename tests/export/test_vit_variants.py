"""ViTs of each variation come back whole from their files, and their ONNX files compute what they do."""

from __future__ import annotations

import copy
from pathlib import Path

import onnxruntime
import pytest
import torch

import prune
from prune.cli import main
from prune.export.onnx_file import TOLERANCE
from prune.pruning.keepset import KeepSet
from tests.architectures.vit_variants import VARIANTS, architecture, random_kept
from tests.rundir.models import Saved, randomise, raw_images, save_compact


def save(run: Path, variant: str) -> Saved:
    """Pruned so that one block has no heads, and another no neurons; the masked model's readers are zeroed column by column."""
    family = architecture(variant)
    keep = random_kept(family, 0)
    torch.manual_seed(3)
    model = family.create()
    randomise(model)
    masked = copy.deepcopy(model).eval()
    with torch.no_grad():
        for group in family.structure.groups:
            reader = masked.get_parameter(group.name + (".proj.weight" if group.kind == "heads" else ".fc2.weight"))
            width = reader.shape[1] // group.count
            for unit in set(range(group.count)) - set(keep.to_lists()[group.name]):
                reader[:, unit * width : (unit + 1) * width] = 0
    assert keep != KeepSet.dense(family.structure)
    return save_compact(run, model.eval(), masked, family, keep, 1, family.options.structure_keys())


@pytest.mark.parametrize("variant", VARIANTS)
def test_loaded_and_exported_models_compute_what_was_saved(tmp_path: Path, variant: str) -> None:
    saved = save(tmp_path / "run", variant)
    model, images = prune.load(saved.folder), raw_images(saved, 3)
    mean, std = torch.tensor([0.3, 0.4]).view(-1, 1, 1), torch.tensor([0.2, 0.25]).view(-1, 1, 1)
    normalised = (images - mean) / std
    with torch.inference_mode():
        found, expected = model(normalised), saved.masked(normalised)
    assert torch.equal(found, saved.compact(normalised))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()  # float32 sums in another order
    distilled = saved.architecture.options.distilled
    assert model.pretrained_cfg["classifier"] == (("head", "head_dist") if distilled else "head")

    assert main(["export", str(saved.folder), "--onnx"]) == 0
    session = onnxruntime.InferenceSession(str(saved.folder / "best.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    assert (torch.from_numpy(logits) - expected).abs().max() <= TOLERANCE * expected.abs().max()
