"""Pretrained weights against timm's own loading of the same file; files that do not fit are refused."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from prune.base.errors import UserError
from tests.architectures.composed import TINY, build
from tests.conftest import Compose


@pytest.fixture(scope="module")
def source() -> dict[str, Tensor]:
    """The weights of a 224-pixel, patch-16 ViT with 1,000 classes, every tensor random."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    return {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def file(source: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(source, path)
    return path


def backbone(model: VisionTransformer) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("head.")}


def test_pretrained_weights_arrive_resampled_as_timm_does_it(
    compose: Compose, source: dict[str, Tensor], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        model = build(compose(*TINY, f"model.pretrained={file}"))
    theirs = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(file)},
        img_size=32,
        patch_size=4,
        num_classes=10,
    )
    found, expected = backbone(model), backbone(theirs)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name
        if name not in ("pos_embed", "patch_embed.proj.weight"):
            assert torch.equal(tensor, source[name]), name
    # And by the resampling functions themselves: 16×16 → 4×4 kernels, 14×14 → 8×8 positions after the class token.
    assert torch.equal(found["patch_embed.proj.weight"], resample_patch_embed(source["patch_embed.proj.weight"], [4, 4]))
    positions = resample_abs_pos_embed(source["pos_embed"], [8, 8], num_prefix_tokens=1)
    assert torch.equal(found["pos_embed"], positions)
    assert torch.equal(positions[:, :1], source["pos_embed"][:, :1])
    assert f"{len(found)} of {len(found)} backbone tensors" in caplog.text


def test_nothing_of_the_backbone_is_random(compose: Compose, file: Path) -> None:
    """Two seeds differ in the classifier alone."""
    config = compose(*TINY, f"model.pretrained={file}")
    first, second = build(config, 0).state_dict(), build(config, 1).state_dict()
    assert {name for name in first if not torch.equal(first[name], second[name])} == {"head.weight"}


@pytest.mark.parametrize("wrapped", [None, "model", "state_dict"])
def test_torch_files_load_as_safetensors_do(
    compose: Compose, source: dict[str, Tensor], file: Path, tmp_path: Path, wrapped: str | None
) -> None:
    path = tmp_path / "tiny.pth"
    torch.save({wrapped: source, "epoch": 3} if wrapped else source, path)
    first, second = (backbone(build(compose(*TINY, f"model.pretrained={place}"))) for place in (path, file))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_classifier_that_fits_is_loaded(compose: Compose, source: dict[str, Tensor], tmp_path: Path) -> None:
    fitting = {**source, "head.weight": torch.randn(10, 192), "head.bias": torch.randn(10)}
    save_file(fitting, tmp_path / "ten.safetensors")
    model = build(compose(*TINY, f"model.pretrained={tmp_path / 'ten.safetensors'}"))
    assert torch.equal(model.head.weight, fitting["head.weight"])
    assert torch.equal(model.head.bias, fitting["head.bias"])


def test_grey_images_take_the_sum_over_colours_as_in_timm(compose: Compose, file: Path) -> None:
    grey = compose("dataset=digits", "model=vit_tiny", f"model.pretrained={file}")
    theirs = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(file)},
        img_size=8,
        patch_size=4,
        in_chans=1,
        num_classes=10,
    )
    ours = build(grey).patch_embed.proj.weight
    assert ours.shape == (192, 1, 4, 4)
    # Summing before or after the (linear) resampling differs by float32 roundings.
    torch.testing.assert_close(ours, theirs.patch_embed.proj.weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lost", ["blocks.3.attn.qkv.bias", "pos_embed", "cls_token", "patch_embed.proj.weight", "norm.weight"])
def test_a_file_that_lacks_a_backbone_tensor_is_refused(
    compose: Compose, source: dict[str, Tensor], tmp_path: Path, lost: str
) -> None:
    save_file({name: tensor for name, tensor in source.items() if name != lost}, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match=rf"model\.pretrained.*less\.safetensors.*lacks {lost}\."):
        build(compose(*TINY, f"model.pretrained={tmp_path / 'less.safetensors'}"))


def test_every_lost_tensor_is_listed(compose: Compose, source: dict[str, Tensor], tmp_path: Path) -> None:
    kept = {name: tensor for name, tensor in source.items() if not name.startswith("blocks.7.mlp.")}
    save_file(kept, tmp_path / "less.safetensors")
    with pytest.raises(UserError) as error:
        build(compose(*TINY, f"model.pretrained={tmp_path / 'less.safetensors'}"))
    assert all(f"blocks.7.mlp.{part}" in str(error.value) for part in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"))


def test_a_file_that_has_more_than_the_model_is_refused(compose: Compose, source: dict[str, Tensor], tmp_path: Path) -> None:
    """Layer scale that is dropped would make another function of the rest. Classifiers may be anyone's."""
    scales = {f"blocks.{block}.ls{branch}.gamma": torch.ones(192) for block in range(12) for branch in (1, 2)}
    save_file({**source, **scales}, tmp_path / "more.safetensors")
    with pytest.raises(UserError, match=r"model\.pretrained: .*more\.safetensors does not fit the model: it has") as error:
        build(compose(*TINY, f"model.pretrained={tmp_path / 'more.safetensors'}"))
    assert str(error.value).endswith("it has blocks.0.ls1, blocks.0.ls2, blocks.1.ls1 and 21 more, which the model has not.")
    save_file({**source, "head_dist.weight": torch.ones(1000, 192)}, tmp_path / "classifier.safetensors")
    build(compose(*TINY, f"model.pretrained={tmp_path / 'classifier.safetensors'}"))


def test_a_tensor_of_the_wrong_shape_is_named(compose: Compose, source: dict[str, Tensor], tmp_path: Path) -> None:
    changed = {**source, "blocks.5.mlp.fc1.weight": torch.zeros(700, 192)}
    save_file(changed, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match=r"blocks\.5\.mlp\.fc1\.weight \(700, 192\) instead of \(768, 192\)"):
        build(compose(*TINY, f"model.pretrained={tmp_path / 'odd.safetensors'}"))


def test_a_file_of_another_model_is_refused(compose: Compose, file: Path) -> None:
    with pytest.raises(UserError, match=r"model\.pretrained.*blocks\.0\.attn\.qkv\.weight .*instead of"):
        build(compose("dataset=cifar10", "model=vit_small", f"model.pretrained={file}"))


class Payload:
    """A pickle that would write a file if it were executed."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "executed"))


def test_files_that_cannot_be_read_are_refused(compose: Compose, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "code.pth").write_bytes(pickle.dumps({"model": Payload(victim)}, protocol=2))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00")
    torch.save({"model": [1, 2, 3]}, tmp_path / "list.pth")
    for name, reason in {
        "absent.pth": "does not exist",
        "code.pth": r"cannot be read: it holds no tensors, or more than tensors\.$",
        "cut.safetensors": "cannot be read",
        "list.pth": "holds no dictionary of tensors",
    }.items():
        with pytest.raises(UserError, match=rf"model\.pretrained=.*{name} {reason}"):
            build(compose(*TINY, f"model.pretrained={tmp_path / name}"))
    assert not victim.exists()


def test_weights_that_cannot_be_fetched_are_one_sentence(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    original = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise OSError("no network")
        return original(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the network is not to be tried
    with pytest.raises(UserError, match=r"model\.pretrained=true.*vit_tiny_patch16_224.*could not be fetched") as error:
        build(compose(*TINY, "model.pretrained=true"))
    assert "\n" not in str(error.value)
