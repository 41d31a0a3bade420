"""`prune.load`: the compact model comes back as it was saved, or one sentence says why not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

import prune
from prune.architectures.base import make_architecture
from prune.base.errors import UserError
from prune.rundir.manifest import Manifest
from tests.rundir.models import HEADS, NEURONS, Saved, edit_manifest, raw_images, renew_checksum, save_pruned, save_pruned_timm

HEADS_OF_0 = ("groups", "blocks.0.attn")


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    return save_pruned(tmp_path / "run")


def _same(model: torch.nn.Module, saved: Saved) -> None:
    images = raw_images(saved)
    with torch.inference_mode():
        logits, compact, masked = model(images), saved.compact(images), saved.masked(images)
    torch.testing.assert_close(logits, compact, rtol=0, atol=0)
    assert (logits - masked).abs().max() <= 1e-5 * masked.abs().max()


def test_logits_are_those_of_the_compact_and_of_the_masked_model(saved: Saved) -> None:
    model = prune.load(saved.folder)
    assert type(model) is VisionTransformer
    assert not model.training
    _same(model, saved)


@pytest.mark.parametrize(
    ("heads", "neurons"),
    [([[], [1]], NEURONS), (HEADS, [[2], []]), ([[], []], [[], []]), ([[0, 1, 2]] * 2, [list(range(48))] * 2)],
    ids=["no heads in a block", "no neurons in a block", "no branches at all", "dense"],
)
def test_blocks_may_lose_a_branch(tmp_path: Path, heads: Any, neurons: Any) -> None:
    saved = save_pruned(tmp_path / "run", heads, neurons)
    _same(prune.load(saved.folder), saved)


def test_architecture_from_timms_table_and_grey_images(tmp_path: Path) -> None:
    saved = save_pruned_timm(tmp_path / "run")
    _same(prune.load(saved.folder), saved)


def test_average_pooling_without_class_token(tmp_path: Path) -> None:
    saved = save_pruned(tmp_path / "run", class_token=False, global_pool="avg")
    _same(prune.load(saved.folder), saved)


def test_a_path_may_be_a_file_a_state_or_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first, last = save_pruned(run, state=2), save_pruned(run, heads=[[1], [1]], state=10)
    (run / "checkpoints" / "state_11").mkdir()  # a state that is only now being written
    assert prune.load(run).manifest.state == 10
    assert prune.load(str(first.folder)).manifest.state == 2
    best, final = prune.load(last.folder / "best.safetensors"), prune.load(last.folder / "final.safetensors")
    assert torch.equal(final.cls_token, best.cls_token + 0.01)
    assert torch.equal(prune.load(run, "final").cls_token, final.cls_token)


def test_a_copied_folder_is_enough(saved: Saved, tmp_path: Path) -> None:
    shutil.copytree(saved.folder, tmp_path / "elsewhere")
    _same(prune.load(tmp_path / "elsewhere"), saved)


def test_manifest_and_timms_configuration_are_on_the_model(saved: Saved) -> None:
    from timm.data import resolve_model_data_config

    model = prune.load(saved.folder)
    assert isinstance(model.manifest, Manifest)
    assert model.manifest.data.classes == ("a", "b", "c", "d", "e")
    assert model.manifest.accuracy["best"].test == 90.0
    units = model.manifest.groups["blocks.0.attn"]
    assert (units.kind, units.block, units.units, units.kept) == ("heads", 0, 3, (0, 2))
    assert model.manifest.counts == {"blocks.0.attn": 2, "blocks.0.mlp": 4, "blocks.1.attn": 1, "blocks.1.mlp": 2}
    assert model.pretrained_cfg["classifier"] == "head"
    found = resolve_model_data_config(model)
    assert (found["input_size"], found["mean"], found["std"]) == ((3, 8, 12), (0.3, 0.4, 0.5), (0.2, 0.25, 0.3))


def test_the_model_can_be_trained_on(saved: Saved) -> None:
    model = prune.load(saved.folder).train()
    model(raw_images(saved)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_modules_are_the_librarys_own(saved: Saved) -> None:
    """What trains faster here is installed for training steps alone."""
    assert {type(module).__module__.partition(".")[0] for module in prune.load(saved.folder).modules()} == {"timm", "torch"}


def test_loading_draws_no_random_numbers(saved: Saved) -> None:
    before = torch.get_rng_state()
    prune.load(saved.folder)
    assert torch.equal(before, torch.get_rng_state())


def _without(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.pop(key)


def _with(value: Any, *path: Any) -> Callable[[dict[str, Any]], object]:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_with(1, "format"), "was written by another version of this program (format 1; this one reads format 2)"),
        (_without("format"), "was written by another version of this program (format 1; this one reads format 2)"),
        (_with(3, "format"), "was written by another version of this program (format 3; this one reads format 2)"),
        (_without("data"), "data: Field required"),
        (_without("model"), "model: Field required"),
        (lambda content: content["model"].pop("family"), "model.family is missing"),
        (_with("resnet", "model", "family"), "model.family='resnet' is not known; choose one of "),
        (_with("wide", "model", "embed_dim"), "model.embed_dim: Input should be a valid integer"),
        (_with(7, "model", "layers"), "model.layers: Extra inputs are not permitted"),
        (_with(5, "model", "num_heads"), "model.embed_dim=24 is not divisible by model.num_heads=5"),
        (_with([8, 13], "data", "image_size"), "dataset.image_size=[8, 13] is not divisible by model.patch_size=4"),
        (lambda content: content["groups"].pop("blocks.1.attn"), "groups are not those of the model (blocks.0.attn, "),
        (
            _with("neurons", *HEADS_OF_0, "kind"),
            "blocks.0.attn has 3 neurons in block 0 where the model has 3 heads in block 0",
        ),
        (_with(1, *HEADS_OF_0, "block"), "blocks.0.attn has 3 heads in block 1 where the model has 3 heads in block 0"),
        (_with(4, *HEADS_OF_0, "units"), "blocks.0.attn has 4 heads in block 0 where the model has 3 heads in block 0"),
        (_with([2, 0], *HEADS_OF_0, "kept"), "heads of blocks.0.attn are not ascending"),
        (_with([0, 3], *HEADS_OF_0, "kept"), "heads of blocks.0.attn are not ascending indices below 3"),
        (_with([-1, 3], "groups", "blocks.0.mlp", "kept"), "neurons of blocks.0.mlp are not ascending indices below 48"),
        (_with(["a"], "data", "classes"), "where a model of these units has"),
        (_with([0.5], "data", "mean"), "data.mean has 1 values"),
        (_with([0.5], "data", "std"), "data.std has 1 values"),
        (_with(7, "parameters"), "parameters is 7"),
        (_with(101.0, "accuracy", "best", "val"), "accuracy.best.val"),
        (_with("global", "model", "global_pool"), "model.global_pool: Input should be 'token' or 'avg'"),
        (_with("resnet18", "model", "name"), "cannot be built: model.name='resnet18' is not a ViT that can be pruned here"),
        (_with("no_such_vit", "model", "name"), "cannot be built: model.name='no_such_vit' is not a timm model"),
        (
            _with("vit_tiny_patch16_224", "model", "name"),
            "cannot be built: model.depth=2 but timm's vit_tiny_patch16_224 has 12",
        ),
        (_with("deit_tiny_distilled_patch16_224", "model", "name"), "cannot be built: model.depth=2 but timm's deit_tiny"),
        (_with({}, "sha256"), "has no checksum for it"),
        (_with({"best": "0" * 64}, "sha256"), "its SHA-256 is not the one in pruned.json"),
    ],
)
def test_a_wrong_manifest_is_one_sentence(saved: Saved, change: Any, sentence: str) -> None:
    edit_manifest(saved.folder, change)
    with pytest.raises(UserError) as error:
        prune.load(saved.folder)
    assert sentence in str(error.value)
    assert str(saved.folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".") and not str(error.value).endswith("..")


def test_parts_that_the_manifest_does_not_state_are_named(tmp_path: Path) -> None:
    """DeiT III has the sizes of the plain ViT, and position embeddings for patches alone."""
    saved = save_pruned_timm(tmp_path / "run")
    edit_manifest(saved.folder, _with("deit3_small_patch16_224", "model", "name"))
    edit_manifest(saved.folder, _widen)
    with pytest.raises(UserError, match=r"pruned\.json cannot be built: model\.no_embed_class=false but timm's .* has true"):
        prune.load(saved.folder)


def _widen(content: dict[str, Any]) -> None:
    """DeiT III is there from ViT-Small up: the manifest of a dense one."""
    content["model"].update(embed_dim=384, num_heads=6)
    counts = {"heads": 6, "neurons": 1536}
    for units in content["groups"].values():
        units.update(units=counts[units["kind"]], kept=list(range(counts[units["kind"]])))
    content["parameters"] = make_architecture(content["model"], [16, 16], 1, 5).structure.parameters()


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("name: main\n")
    sentence = r"run/config\.yaml was written by another version of this program \(format 1; this one reads format 2\)"
    with pytest.raises(UserError, match=sentence):
        prune.load(run)
    save_pruned(run)
    with pytest.raises(UserError, match=sentence):
        prune.load(run)


def _edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "best.safetensors")
    change(tensors)
    save_file(tensors, folder / "best.safetensors")
    renew_checksum(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_without("head.bias"), "it lacks head.bias"),
        (_with(torch.ones(1), "extra"), "it has extra besides"),
        (_with(torch.ones(6, 24), "head.weight"), "head.weight is float32 (6, 24) instead of float32 (5, 24)"),
        (_with(torch.ones(5, dtype=torch.float64), "head.bias"), "head.bias is float64 (5,) instead of float32 (5,)"),
        (_with(torch.ones(3, 24), "blocks.0.mlp.fc1.weight"), "blocks.0.mlp.fc1.weight is float32 (3, 24) instead"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved: Saved, change: Any, sentence: str) -> None:
    _edit_tensors(saved.folder, change)
    with pytest.raises(UserError) as error:
        prune.load(saved.folder)
    assert sentence in str(error.value)


def test_other_units_of_the_same_number_cannot_be_told_apart_by_shape_but_other_numbers_can(saved: Saved) -> None:
    counted = saved.architecture.structure.parameters(
        {"blocks.0.attn": 3, "blocks.0.mlp": 4, "blocks.1.attn": 1, "blocks.1.mlp": 2}
    )
    edit_manifest(saved.folder, _with([0, 1, 2], *HEADS_OF_0, "kept"))
    edit_manifest(saved.folder, _with(counted, "parameters"))
    with pytest.raises(UserError, match=r"blocks\.0\.attn\.\w+\.\w+ is float32"):
        prune.load(saved.folder)


def test_a_damaged_file_is_noticed(saved: Saved) -> None:
    path = saved.folder / "best.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged or belongs to another manifest"):
        prune.load(saved.folder)
    path.write_bytes(b"not safetensors")
    renew_checksum(saved.folder)
    with pytest.raises(UserError, match="not a safetensors file"):
        prune.load(saved.folder)


def test_paths_that_mean_nothing(saved: Saved, tmp_path: Path) -> None:
    for path, sentence in [
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path, "neither a state's folder nor the directory of a run"),
        (saved.folder / "pruned.json", "is not a pruned model"),
    ]:
        with pytest.raises(UserError, match=sentence):
            prune.load(path)
    with pytest.raises(UserError, match="which='worst' is not known; choose one of best, final"):
        prune.load(saved.folder, "worst")
    (saved.folder / "best.safetensors").unlink()
    with pytest.raises(UserError, match=r"checkpoint\.keep"):
        prune.load(saved.folder)
    (saved.folder / "pruned.json").unlink()
    with pytest.raises(UserError, match=r"pruned\.json is missing"):
        prune.load(saved.folder)


def test_a_manifest_that_is_not_json(saved: Saved) -> None:
    for text in ("{", "[]", json.dumps("text")):
        (saved.folder / "pruned.json").write_text(text)
        with pytest.raises(UserError, match="not a readable manifest"):
            prune.load(saved.folder)


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, prune; assert 'load' in prune.__all__; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = prune.lode
