"""DeiT, DeiT-III, registers, normalised queries and gated MLPs: described rightly, pruned exactly, and refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from timm.layers import Attention, Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from prune.architectures.base import make_architecture
from prune.architectures.build import build_model, check_model
from prune.architectures.fast.swap import FastPaths
from prune.architectures.vit import ViT
from prune.base.errors import UserError
from prune.config.optim import OptimConfig
from prune.data.loading import TrainingBatch
from prune.engine.loss import compute_gradients
from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet
from prune.pruning.verify import verify
from tests.architectures.vit_variants import SIZES, VARIANTS, architecture, random_kept, randomised


def optim_config(**keys: float) -> OptimConfig:
    return OptimConfig.model_validate({"name": "sgd", "lr": 0.1, "weight_decay": 0, "batch_size": 4, **keys})


def hook_units_out(model: Any, family: ViT, keep: KeepSet) -> None:
    """What reads a pruned unit sees zero: timm's own model otherwise. Heads and neurons lie there one after the other."""
    for group in family.structure.groups:
        heads = group.kind == "heads"
        mask = torch.zeros(group.count, dtype=torch.float64)
        mask[keep.to_lists()[group.name]] = 1
        if heads:
            mask = mask.repeat_interleave(SIZES["embed_dim"] // SIZES["num_heads"])  # type: ignore[operator]
        reader = model.get_submodule(group.name + (".proj" if heads else ".fc2"))
        reader.register_forward_pre_hook(lambda _, inputs, mask=mask: (inputs[0] * mask,))


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_described_rightly(variant: str) -> None:
    family = architecture(variant)
    family.check()
    assert verify(family, keep_sets=2) == []


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("variant", VARIANTS)
def test_compact_is_the_full_model_with_hooks_at_zero(variant: str, seed: int) -> None:
    """Logits in evaluation, loss and gradients of kept weights in training, with fast paths as a run has them."""
    family = architecture(variant)
    keep, dense = random_kept(family, seed), KeepSet.dense(family.structure)
    small, full = randomised(family), randomised(family)
    compact(small, family, dense, keep)
    hook_units_out(full, family, keep)
    images, labels = torch.randn(4, 2, 8, 12, dtype=torch.float64), torch.tensor([0, 4, 2, 1])
    torch.testing.assert_close(small.eval()(images), full.eval()(images), rtol=1e-9, atol=1e-9)

    optim = optim_config(label_smoothing=0.1)
    with FastPaths(family.fast_paths(small.train(), "cpu")).installed():
        loss, _ = compute_gradients(small, TrainingBatch(images, labels), optim)
    expected, _ = compute_gradients(full.train(), TrainingBatch(images, labels), optim)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    wanted = {name: parameter.grad for name, parameter in full.named_parameters()}
    compact(full, family, dense, keep)  # a dense model's weights and sizes, cut as the small one's
    sizes = dict(full.named_parameters())
    for name, parameter in small.named_parameters():
        assert parameter.shape == sizes[name].shape
        if parameter.numel():
            # A layer that only an empty branch has takes no part in the loss.
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(found, kept_of(wanted[name], name, family, keep), rtol=1e-8, atol=1e-10)


OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-2),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-2),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("variant", ["", *VARIANTS])
def test_twenty_steps_agree(variant: str, optimiser: str) -> None:
    """One block has no heads, another no neurons. Weights of silenced units decay by themselves; nothing reads them."""
    family = architecture(variant)
    keep, dense = random_kept(family, 0), KeepSet.dense(family.structure)
    small, full = randomised(family), randomised(family)
    compact(small, family, dense, keep)
    hook_units_out(full, family, keep)
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    for model in (small, full):
        train(model, family, OPTIMISERS[optimiser])
    for name, found in small.state_dict().items():
        # Float64: re-association alone, grown over twenty steps.
        torch.testing.assert_close(found, kept_of(full.state_dict()[name], name, family, keep), rtol=1e-8, atol=1e-9)
    assert max(float((found - before[name]).abs().max()) for name, found in small.state_dict().items() if found.numel()) > 1e-2


def train(model: Any, family: ViT, make: Callable[[Any], torch.optim.Optimizer]) -> None:
    """With the fast paths, as a run trains; a module with hooks stays as it is."""
    optimizer, fast = make(model.train().parameters()), FastPaths(family.fast_paths(model, "cpu"))
    draw = torch.Generator().manual_seed(2)
    for _ in range(20):
        images = torch.randn(4, 2, 8, 12, dtype=torch.float64, generator=draw)
        labels = torch.randint(5, (4,), generator=draw)
        optimizer.zero_grad()
        with fast.installed():
            compute_gradients(model, TrainingBatch(images, labels), optim_config())
        optimizer.step()


def kept_of(gradient: Tensor, name: str, family: ViT, keep: KeepSet) -> Tensor:
    """Index by index: the entries of the kept units of a dense tensor."""
    for group in family.structure.groups:
        units, width = keep.to_lists()[group.name], SIZES["embed_dim"] // SIZES["num_heads"]  # type: ignore[operator]
        part = name.removeprefix(f"{group.name}.")
        if part in ("qkv.weight", "qkv.bias"):
            rows = [12 * third + width * head + lane for third in range(3) for head in units for lane in range(width)]
            return gradient[rows]
        if part == "proj.weight":
            return gradient[:, [width * head + lane for head in units for lane in range(width)]]
        if part in ("fc1.weight", "fc1.bias"):
            halves = range(gradient.shape[0] // group.count)
            return gradient[[group.count * half + unit for half in halves for unit in units]]
        if part in ("fc1_g.weight", "fc1_g.bias", "fc1_x.weight", "fc1_x.bias"):
            return gradient[units]
        if part == "fc2.weight":
            return gradient[:, units]
    return gradient


def test_a_distilled_model_learns_the_label_with_both_classifiers() -> None:
    model = randomised(architecture("distilled")).train()
    images, labels = torch.randn(3, 2, 8, 12, dtype=torch.float64), torch.tensor([1, 4, 0])
    loss, hits = compute_gradients(model, TrainingBatch(images, labels), optim_config())
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    tokens = model.forward_features(images)
    one, two = model.head(tokens[:, 0]), model.head_dist(tokens[:, 1])
    expected = (F.cross_entropy(one, labels) + F.cross_entropy(two, labels)) / 2
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    assert hits == ((one + two).argmax(1) == labels).sum()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
    assert torch.equal(model.eval()(images), (one + two) / 2)


def test_one_classifier_trains_on_the_bits_of_its_own_loss() -> None:
    model, images, labels = randomised(architecture("")).train(), torch.randn(3, 2, 8, 12).double(), torch.tensor([1, 4, 0])
    loss, _ = compute_gradients(model, TrainingBatch(images, labels), optim_config())
    assert torch.equal(loss, F.cross_entropy(model(images), labels).detach())


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_what_a_fast_class_computes_is_of_one(variant: str) -> None:
    family = architecture(variant)
    pairs = dict(family.fast_paths(family.create(), "cpu"))
    assert any(type(module) is Attention for module in pairs) == (not family.options.qk_norm)
    assert any(type(module) is Mlp for module in pairs) == (family.options.mlp_layer == "mlp")


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("deit3_small_patch16_224", {}, r"model\.no_embed_class=false but timm's deit3_small_patch16_224 has true; set"),
        ("deit3_small_patch16_224", {"no_embed_class": True}, r"model\.init_values=null but .* has 1e-06; set"),
        ("deit_small_distilled_patch16_224", {}, r"model\.distilled=false but .* has true; set model\.distilled=true\."),
        ("deit_small_patch16_224", {"distilled": True}, r"model\.distilled=true but .* has false"),
        ("vit_small_patch14_reg4_dinov2", {"patch_size": 14}, r"model\.reg_tokens=0 but .* has 4"),
        ("vit_base_patch16_clip_224", {"embed_dim": 768, "num_heads": 12}, r"model\.pre_norm=false but .* has true"),
        ("vit_giant_patch14_dinov2", {"depth": 40, "embed_dim": 1536, "num_heads": 24}, "mlp_layer=mlp but .* swiglu_packed"),
        ("vit_small_patch16_18x2_224", {"depth": 18}, r"does not know: blocks\.0 is a ParallelThingsBlock"),
        ("vit_base_r50_s16_224", {"embed_dim": 768, "num_heads": 12}, r"is not a ViT that can be pruned here \(\w+\)"),
    ],
)  # fmt: skip
def test_what_timm_has_otherwise_is_named(name: str, keys: dict[str, Any], message: str) -> None:
    sizes = {"patch_size": 16, "depth": 12, "embed_dim": 384, "num_heads": 6, "mlp_ratio": 4.0, **keys}
    family = make_architecture({"family": "vit", "name": name, **sizes}, 16 * sizes["patch_size"] // 4, 3, 10)
    with pytest.raises(UserError, match=message), torch.device("meta"):
        check_model(family, family.create())


def with_scaled_attention(model: Any) -> None:
    for block in model.blocks:
        block.attn.norm = nn.LayerNorm(12)
        block.extra = nn.Linear(2, 2)


def without_output_bias(model: Any) -> None:
    model.blocks[1].attn.proj.bias = None


def with_a_wider_norm(model: Any) -> None:
    model.norm = nn.LayerNorm(13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_scaled_attention, "does not know: blocks.0.attn.norm, blocks.0.extra, blocks.1.attn.norm and 1 more."),
        (without_output_bias, "lacks what a ViT of its sizes has: blocks.1.attn.proj.bias."),
        (with_a_wider_norm, "has parts of other sizes than a ViT of its sizes: norm."),
    ],
)
def test_parts_that_are_not_understood_are_named(change: Callable[[Any], None], message: str) -> None:
    family = architecture("")
    model = family.create()
    change(model)
    with pytest.raises(UserError) as error:
        check_model(family, model)
    assert str(error.value).endswith(message)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"distilled": True, "class_token": False, "global_pool": "avg"},
            r"model\.distilled=true needs model\.global_pool=token",
        ),
        ({"distilled": True, "reg_tokens": 2}, r"model\.distilled=true needs model\.reg_tokens=0"),
        ({"distilled": True, "no_embed_class": True}, r"needs model\.no_embed_class=false"),
        (
            {"mlp_layer": "swiglu_packed", "mlp_ratio": 1.25},
            r"model\.mlp_ratio=1\.25 .* 15 rows, and model\.mlp_layer=swiglu_packed",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_while_composing(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        architecture("", **keys).check()


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "deit3_small_patch16_224"])
def test_published_weights_come_whole_but_for_the_classifiers(name: str, tmp_path: Any) -> None:
    """A distilled model's second classifier is a classifier: with other classes it starts at random."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    published = {key: torch.randn_like(value) for key, value in timm.create_model(name).state_dict().items()}
    save_file(published, tmp_path / "published.safetensors")
    tiny = "tiny" in name
    keys = {"distilled": True} if tiny else {"no_embed_class": True, "init_values": 1e-6}
    sizes = {"patch_size": 16, "depth": 12, "embed_dim": 192 if tiny else 384, "num_heads": 3 if tiny else 6, "mlp_ratio": 4}
    options = {"family": "vit", "name": name, "pretrained": str(tmp_path / "published.safetensors"), **sizes, **keys}
    found = build_model(make_architecture(options, 224, 3, 10), 0).state_dict()
    assert found.keys() == published.keys()
    fresh = {key for key in found if not torch.equal(found[key], published[key]) if found[key].shape == published[key].shape}
    assert fresh == set()
    assert {key for key in found if found[key].shape != published[key].shape} == {
        f"{head}.{part}" for head in (("head", "head_dist") if tiny else ("head",)) for part in ("weight", "bias")
    }
    if tiny:
        plain = {"family": "vit", "name": "deit_tiny_patch16_224", "pretrained": options["pretrained"], **sizes}
        with pytest.raises(UserError, match=r"model\.pretrained="):
            build_model(make_architecture(plain, 224, 3, 10), 0)
