"""Swins: published sizes, presets, windows, weights, and what is refused."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_patch_embed
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from prune.architectures.build import build_model, check_model
from prune.architectures.swin import Swin, SwinOptions
from prune.base.errors import UserError
from prune.config import RunConfig
from tests.architectures.swins import SHIFTED, build
from tests.conftest import Compose

NAMED = ("dataset=cifar10", "model=swin_tiny", "model.pretrained=false")


def architecture(config: RunConfig, classes: int = 10, **changes: Any) -> Swin:
    """The configuration's, with other options."""
    found = config.architecture(classes)
    assert isinstance(found, Swin)
    options = SwinOptions.model_validate({**found.options.model_dump(), **changes})
    return Swin(options, found.image_size, found.channels, classes)


def test_swin_micro_is_what_its_file_says(compose: Compose, caplog: pytest.LogCaptureFixture) -> None:
    config = compose("dataset=digits", "model=swin_micro")
    structure = config.architecture(10).structure
    assert (structure.units("heads"), structure.units("neurons")) == (24, 768)
    assert structure.labels == ("stage 0, block 0", "stage 0, block 1", "stage 1, block 0", "stage 1, block 1")
    with caplog.at_level(logging.INFO):
        model = build_model(config.architecture(10), 0)
    assert "windows of 2 × 2, 2 × 2 tokens on maps of 4 × 4, 2 × 2, by stage" in caplog.text
    assert sum(p.numel() for p in model.parameters()) == structure.parameters() == 135_042


def test_windows_shrink_to_the_map_as_timm_shrinks_them(compose: Compose) -> None:
    described = architecture(
        compose("dataset=digits", "model=swin_micro"), window_size=7, depths=(1, 1, 1), num_heads=(2, 2, 2)
    )
    model: Any = described.create()
    theirs = [layer.blocks[0].window_size for layer in model.layers]
    assert theirs == [stage.window for stage in described.stages] == [(4, 4), (2, 2), (1, 1)]
    check_model(described, model)
    small = architecture(compose(*NAMED))  # as the presets' comments say
    assert [stage.window for stage in small.stages] == [(4, 4), (4, 4), (4, 4), (2, 2)]


def test_counting_needs_no_torch() -> None:
    code = (
        "import sys; from prune.architectures.base import make_architecture; "
        "m = {'family': 'swin', 'name': 'custom', 'patch_size': 2, 'window_size': 2, 'embed_dim': 32, 'depths': [2, 2], "
        "'num_heads': [4, 8], 'mlp_ratio': 4}; "
        "print(make_architecture(m, 8, 1, 10).structure.parameters(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["135042", "False"]


# ---- refused -------------------------------------------------------------------------------------------------------------

WHILE_COMPOSING = {
    ("dataset.image_size=9",): r"dataset\.image_size=9 is not divisible by model\.patch_size=2",
    ("model.num_heads=[4,8,8]",): r"model\.num_heads=\[4, 8, 8\] and model\.depths=\[2, 2\] must name as many stages",
    ("model.num_heads=[4,7]",): r"model\.num_heads=\[4, 7\]: the 64 channels of stage 1 .*model\.embed_dim=32.* by 7 heads",
    ("model.depths=[]", "model.num_heads=[]"): r"model\.depths",
    ("model.depths=[2,0]",): r"model\.depths",
    ("model.depths=3",): r"model\.depths=3 must be a list in brackets, each a whole number from 1 to 1000",
    ("model.pretrained=true",): r"model\.name=custom has no pretrained weights",
    ("+model.class_token=true",): r"class_token",
    ("method.targets=[channels]",): r"method\.targets.*channels",
    ("method.pools=joint", "method.criterion=activation"): r"method\.criterion=activation cannot be compared between kinds",
    ("method.min_per_block=7",): r"method\.min_per_block=7",
}


@pytest.mark.parametrize("overrides", WHILE_COMPOSING, ids=" ".join)
def test_what_does_not_go_together_is_named_while_composing(compose: Compose, overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        compose("experiment=demo", "dataset=digits", "model=swin_micro", "method=refill", *overrides)
    assert "\n" not in str(error.value)
    assert re.search(WHILE_COMPOSING[overrides], str(error.value)), error.value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "swin_huge"}, r"model\.name='swin_huge' is not a timm model"),
        ({"name": "swinv2_tiny_window8_256"}, r"is a SwinTransformerV2, not a timm SwinTransformer"),
        ({"name": "vit_tiny_patch16_224"}, r"model\.name='vit_tiny_patch16_224' is not a Swin that can be pruned here"),
        ({"depths": (2, 2, 4, 2)}, r"model\.depths=\[2, 2, 4, 2\] but timm's .* \[2, 2, 6, 2\]; set model\.depths="),
        ({"embed_dim": 48}, r"model\.embed_dim=48 but timm's swin_tiny_patch4_window7_224 has 96"),
        ({"num_heads": (3, 6, 12, 12)}, r"model\.num_heads=\[3, 6, 12, 12\] but timm's"),
        ({"mlp_ratio": 2.0}, r"model\.mlp_ratio=2\.0 but timm's .* 4\.0"),
    ],
)
def test_a_model_of_other_sizes_is_named(compose: Compose, changes: dict[str, Any], message: str) -> None:
    described = architecture(compose(*NAMED), **changes)
    with pytest.raises(UserError, match=message), torch.device("meta"):
        check_model(described, described.create())


def test_parts_that_are_not_understood_are_named() -> None:
    class Gate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.tanh()

    model = build(SHIFTED)
    model.get_submodule("layers.1.blocks.0").attn.proj_drop = Gate()  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"layers\.1\.blocks\.0\.attn\.proj_drop \(Gate\)"):
        check_model(SHIFTED.architecture, model)


# ---- pretrained weights --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source() -> dict[str, Tensor]:
    """A published-size checkpoint's tensors, but few: two stages at 56 pixels, patch 4, window 7; every tensor random."""
    torch.manual_seed(0)
    model = SwinTransformer(img_size=56, num_classes=7, embed_dim=32, depths=(2, 2), num_heads=(4, 8))
    return {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}


def loaded(compose: Compose, tmp_path: Path, weights: dict[str, Tensor], *overrides: str) -> SwinTransformer:
    save_file(weights, tmp_path / "swin.safetensors")
    config = compose("dataset=cifar10", "model=swin_micro", f"model.pretrained={tmp_path / 'swin.safetensors'}", *overrides)
    model = build_model(config.architecture(10), 0)
    assert isinstance(model, SwinTransformer)
    return model


def test_pretrained_tables_arrive_resampled_as_timm_does_it(
    compose: Compose, tmp_path: Path, source: dict[str, Tensor]
) -> None:
    found = dict(loaded(compose, tmp_path, source, "model.window_size=4").state_dict())
    expected = SwinTransformer(img_size=56, num_classes=7, embed_dim=32, depths=(2, 2), num_heads=(4, 8))
    expected.load_state_dict(source)
    expected.set_input_size((32, 32), window_size=4)  # timm's own way to another window
    for name, tensor in expected.state_dict().items():
        if name == "patch_embed.proj.weight":
            assert found[name].shape == (32, 3, 2, 2)  # from 4 × 4 pixels
            assert torch.equal(found[name], resample_patch_embed(source[name], [2, 2]))
        elif not name.startswith("head."):
            assert torch.equal(found[name], tensor), name
    assert found["layers.0.blocks.0.attn.relative_position_bias_table"].shape == (49, 4)
    assert found["head.fc.weight"].shape == (10, 64)


def test_the_authors_own_layout_is_read(compose: Compose, tmp_path: Path, source: dict[str, Tensor]) -> None:
    """Merging at a stage's end, tables of indices in the file, `head` without `fc`, all under `model`."""
    renamed = {
        name.replace("layers.1.downsample", "layers.0.downsample").replace("head.fc.", "head."): t for name, t in source.items()
    }
    renamed["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    renamed["layers.0.blocks.1.attn_mask"] = torch.zeros(4, 49, 49)
    torch.save({"model": renamed}, tmp_path / "swin.pth")
    config = compose("dataset=cifar10", "model=swin_micro", f"model.pretrained={tmp_path / 'swin.pth'}")
    theirs, ours = build_model(config.architecture(10), 0), loaded(compose, tmp_path, source)
    assert torch.equal(
        theirs.get_parameter("layers.1.downsample.reduction.weight"), source["layers.1.downsample.reduction.weight"]
    )
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


def test_grey_images_take_the_sum_over_colours(compose: Compose, tmp_path: Path, source: dict[str, Tensor]) -> None:
    found = loaded(compose, tmp_path, source, "dataset=digits", "model.patch_size=4", "dataset.image_size=8")
    assert torch.equal(found.patch_embed.proj.weight, source["patch_embed.proj.weight"].sum(1, keepdim=True))


@pytest.mark.parametrize("lost", ["layers.0.blocks.1.attn.relative_position_bias_table", "layers.1.downsample.norm.bias"])
def test_a_tensor_that_did_not_load_is_an_error(compose: Compose, tmp_path: Path, source: dict[str, Tensor], lost: str) -> None:
    with pytest.raises(UserError, match=rf"model\.pretrained.*swin\.safetensors.*lacks {lost}\."):
        loaded(compose, tmp_path, {name: tensor for name, tensor in source.items() if name != lost})


def test_a_larger_swin_is_refused(compose: Compose, tmp_path: Path, source: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match=r"model\.pretrained.*instead of"):
        loaded(compose, tmp_path, source, "model.embed_dim=16", "model.depths=[1,2]")


def test_a_plain_vit_is_refused_with_a_sentence(compose: Compose, tmp_path: Path) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", embed_dim=32, num_heads=4, depth=2)
    with pytest.raises(UserError, match=r"model\.pretrained: these are not the weights of a Swin.*a plain ViT's"):
        loaded(compose, tmp_path, dict(vit.state_dict()))
