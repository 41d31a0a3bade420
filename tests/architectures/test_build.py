"""A run's model: its seed, its sizes, pretrained weights against timm's own loading of the same file, and rebuilding."""

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
from torch import Tensor, nn

from prune.architectures.build import build_model, empty_model, fill_buffers, restore_model
from prune.architectures.vit import ViT
from prune.base.errors import UserError
from prune.config import RunConfig
from prune.pruning.compact import compact
from tests.architectures.vits import MICRO, Units, batch, cut, keep_set, random_units
from tests.architectures.vits import build as build_small
from tests.conftest import Compose

TINY = ("dataset=cifar10", "model=vit_tiny")
CPU = torch.device("cpu")


def build(config: RunConfig, seed: int = 0) -> VisionTransformer:
    return build_model(config.architecture(10), seed)


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
        "code.pth": "cannot be read",
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


def test_weights_derive_from_the_seed_alone(compose: Compose) -> None:
    config = compose("dataset=digits", "model=vit_micro")
    torch.manual_seed(5)
    first = build(config, 3).state_dict()
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))  # the default generator is as it was
    again, other = build(config, 3).state_dict(), build(config, 4).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"])


@pytest.mark.parametrize(
    ("model", "dataset", "parameters"),
    [("vit_small", "cifar10", 21_342_346), ("vit_tiny", "cifar100", None), ("vit_micro", "digits", None)],
)
def test_conf_states_the_sizes_that_timm_has(compose: Compose, model: str, dataset: str, parameters: int | None) -> None:
    config = compose(f"dataset={dataset}", f"model={model}", "model.pretrained=false")
    built = build_model(config.architecture(), 0)
    counted = sum(parameter.numel() for parameter in built.parameters())
    assert counted == config.architecture().structure.parameters()
    assert parameters in (None, counted)
    size = config.dataset.size
    assert built(torch.zeros(2, config.dataset.channels, *size)).shape == (2, config.dataset.classes)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.depth=11", r"model\.depth=11 but .* has 12"),
        ("model.embed_dim=96", r"model\.embed_dim=96 but .* has 192"),
        ("model.num_heads=4", r"model\.num_heads=4 but .* has 3"),
        ("model.mlp_ratio=2", r"model\.mlp_ratio=2.0 but .* has 4.0"),
        ("model.name=vit_tny_patch16_224", r"model\.name='vit_tny_patch16_224' is not a timm model"),
        ("model.name=resnet18", r"model\.name='resnet18' is not a"),
    ],
)
def test_sizes_and_names_that_do_not_fit_are_refused(compose: Compose, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(compose(*TINY, "model.pretrained=false", override))


def test_a_ratio_without_a_whole_number_of_neurons_is_rounded_down(compose: Compose) -> None:
    config = compose("dataset=digits", "model=vit_micro", "model.mlp_ratio=2.3")
    model = build(config)
    assert {block.mlp.fc1.out_features for block in model.blocks} == {110}  # 48 × 2.3 = 110.4
    assert sum(parameter.numel() for parameter in model.parameters()) == config.architecture(10).structure.parameters()


UNITS = [
    random_units(MICRO, 3),
    ([[7], [], [0, 4, 6]], [[1, 2, 3], [], [9]]),
    ([[], [], []], [[], [], []]),
    ([list(range(8))] * 3, [list(range(192))] * 3),
]


@pytest.mark.parametrize("units", UNITS)
def test_an_empty_model_has_the_names_and_sizes_of_the_compact_one(units: tuple[Units, Units]) -> None:
    wanted = cut(dict(build_small(MICRO).state_dict()), MICRO, units)
    torch.manual_seed(5)
    model: Any = empty_model(MICRO.architecture, keep_set(units).counts())
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))  # no random number was drawn
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == {
        name: tensor.shape for name, tensor in wanted.items()
    }
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
    for block, heads, neurons in zip(model.blocks, *units, strict=True):
        assert block.attn.num_heads == len(heads)
        assert (block.mlp.fc1.out_features, block.mlp.fc2.in_features) == (len(neurons), len(neurons))


@pytest.mark.parametrize("units", UNITS)
def test_a_restored_model_is_the_compact_one(units: tuple[Units, Units]) -> None:
    small = build_small(MICRO)
    compact(small, MICRO.architecture, MICRO.dense, keep_set(units))
    tensors = dict(small.state_dict())
    model = restore_model(MICRO.architecture, keep_set(units).counts(), tensors, CPU).eval()
    images = batch(MICRO, 3)[0]
    assert torch.equal(model(images), small(images))
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in model.parameters())


def test_training_a_restored_model_leaves_the_given_tensors_alone() -> None:
    tensors = dict(build_small(MICRO).state_dict())
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    model = restore_model(MICRO.architecture, MICRO.structure.dense, tensors, CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())


@pytest.mark.parametrize("change", ["lacks one", "has one more", "has another size"])
def test_tensors_of_another_model_are_not_restored(change: str) -> None:
    tensors = dict(build_small(MICRO).state_dict())
    if change == "lacks one":
        del tensors["blocks.1.mlp.fc1.bias"]
    elif change == "has one more":
        tensors["blocks.3.mlp.fc1.bias"] = torch.zeros(192)
    else:
        tensors["blocks.1.mlp.fc1.bias"] = torch.zeros(191)
    with pytest.raises(RuntimeError, match=r"mlp\.fc1\.bias"):
        restore_model(MICRO.architecture, MICRO.structure.dense, tensors, CPU)


class Tables(ViT):
    """A family with a table of indices and a ramp that no checkpoint holds, one at the top and one deep inside."""

    def create(self) -> nn.Module:
        model = super().create()
        model.register_buffer("order", torch.arange(5), persistent=False)
        model.blocks[1].attn.register_buffer("ramp", torch.linspace(0, 1, 4), persistent=False)  # type: ignore[index,union-attr]
        return model


def test_buffers_that_are_in_no_checkpoint_are_made_afresh() -> None:
    architecture = Tables(MICRO.architecture.options, MICRO.image_size, MICRO.channels, MICRO.classes)
    tensors = dict(build_small(MICRO).state_dict())
    torch.manual_seed(5)
    model = restore_model(architecture, MICRO.structure.dense, tensors, CPU)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))  # the default generator is as it was
    assert torch.equal(model.get_buffer("order"), torch.arange(5))
    assert torch.equal(model.get_buffer("blocks.1.attn.ramp"), torch.linspace(0, 1, 4))
    assert model.state_dict().keys() == tensors.keys()  # they are in no checkpoint of the restored model either
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())


def test_buffers_that_have_values_are_left_alone() -> None:
    architecture = Tables(MICRO.architecture.options, MICRO.image_size, MICRO.channels, MICRO.classes)
    model = architecture.create()
    model.get_buffer("order").fill_(9)
    fill_buffers(architecture, model, CPU)
    assert model.get_buffer("order").tolist() == [9] * 5
