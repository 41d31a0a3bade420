"""Vision Mambas: counts, and compact models against full ones whose channels are silenced by hooks or held at zero."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.architectures.build import build_model
from prune.base.errors import UserError
from prune.config.optim import OptimConfig
from prune.engine.optim import make_optimizer
from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet
from prune.pruning.verify import verify
from tests.architectures.mambas import (
    HYBRID,
    PLAIN,
    Lists,
    architecture,
    batch,
    build,
    cut,
    hold_at_zero,
    keep_set,
    placed,
    random_lists,
)
from tests.conftest import Compose

CASES: dict[str, tuple[dict[str, Any], Lists]] = {
    "plain": (PLAIN, random_lists(PLAIN, 0)),
    "a block without channels": (PLAIN, random_lists(PLAIN, 1, "layers.0.mixer")),
    "no unit at all": (HYBRID, {group.name: [] for group in architecture(HYBRID).structure.groups}),
    "hybrid": (HYBRID, random_lists(HYBRID, 2)),
    "hybrid, a block without channels": (HYBRID, random_lists(HYBRID, 3, "layers.1.mixer")),
    "hybrid, a block without neurons": (HYBRID, random_lists(HYBRID, 4, "layers.0.mlp")),
}


def small_and_full(case: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module]:
    model, keep = CASES[case]
    full = build(model, dtype)
    small, family = copy.deepcopy(full), architecture(model)
    compact(small, family, KeepSet.dense(family.structure), keep_set(keep))
    return small, full


@pytest.mark.parametrize("model", [PLAIN, HYBRID, {**PLAIN, "expand": 1, "d_conv": 1, "depth": 1, "d_state": 1}])
def test_it_is_described_rightly(model: dict[str, Any]) -> None:
    assert verify(architecture(model)) == []


@pytest.mark.parametrize("case", CASES)
def test_compact_is_the_full_model_whose_units_are_zeroed_by_hooks(case: str) -> None:
    keep = CASES[case][1]
    small, full = small_and_full(case)

    def without(kept: list[int]) -> Callable[[nn.Module, tuple[Tensor]], Tensor]:
        def hook(_: nn.Module, given: tuple[Tensor]) -> Tensor:
            mask = torch.zeros(given[0].shape[-1], dtype=given[0].dtype)
            mask[kept] = 1
            return given[0] * mask

        return hook

    for name, kept in keep.items():
        for reader in ("x_proj", "x_proj_b", "out_proj") if name.endswith("mixer") else ("fc2",):
            full.get_submodule(f"{name}.{reader}").register_forward_pre_hook(without(kept))
    images, _ = batch(3, dtype=torch.float64)
    torch.testing.assert_close(small(images), full(images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_compact_and_masked_agree_in_float32(case: str) -> None:
    model, keep = CASES[case]
    small, full = small_and_full(case, torch.float32)
    hold_at_zero(full, model, keep)
    images, labels = batch(4)
    with torch.no_grad():
        assert (small(images) - full(images)).abs().max() <= 1e-5 * full(images).abs().max()
    wanted = cut(gradients(full, images, labels), model, keep)
    largest = float(wanted["head.weight"].abs().max())
    for name, found in gradients(small, images, labels).items():
        assert found.shape == wanted[name].shape
        # Roundings of float32 sums over tokens and images; a gradient near zero is judged against a real one's size.
        scale = max(float(wanted[name].abs().max()), 1e-2 * largest) if found.numel() else 1.0
        assert not found.numel() or (found - wanted[name]).abs().max() <= 1e-4 * scale, name


def gradients(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    F.cross_entropy(net(images), labels).backward()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in net.named_parameters()}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_twenty_steps_agree(case: str, optimiser: str) -> None:
    model, keep = CASES[case]
    small, full = small_and_full(case)
    hold_at_zero(full, model, keep)
    train(small, optimiser)
    train(full, optimiser, lambda: hold_at_zero(full, model, keep))
    wanted = cut(dict(full.state_dict()), model, keep)
    for name, found in small.state_dict().items():
        # Float64: re-association alone, which AdamW's division enlarges where a gradient is almost zero.
        torch.testing.assert_close(found, wanted[name], rtol=1e-7, atol=1e-8)


def train(net: nn.Module, optimiser: str, after_step: Callable[[], object] = int) -> None:
    settings = {"name": optimiser, "lr": 0.02 if optimiser == "sgd" else 2e-3, "weight_decay": 0.01, "batch_size": 4}
    steps = make_optimizer(OptimConfig.model_validate(settings), net)
    for step in range(20):
        images, labels = batch(4, seed=100 + step, dtype=torch.float64)
        steps.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        steps.step()
        after_step()


def test_every_tensor_of_a_mixer_belongs_to_its_channels() -> None:
    everything = {group.name: list(range(group.count)) for group in architecture().structure.groups}
    owned = {name for name, _, _ in placed(PLAIN, everything)}
    assert owned == {name for name, _ in build().named_parameters() if ".mixer." in name}
    assert owned == {member.tensor for group in architecture().structure.groups for member in group.members}


def test_rates_and_skips_do_not_decay_also_when_cut() -> None:
    small, _ = small_and_full("plain")
    config = OptimConfig.model_validate({"name": "adamw", "lr": 1, "weight_decay": 0.5, "batch_size": 4, "decay": "matrices"})
    decays = {id(p): group["weight_decay"] for group in make_optimizer(config, small).param_groups for p in group["params"]}
    decaying = {name.partition("mixer.")[2] for name, p in small.named_parameters() if ".mixer." in name and decays[id(p)]}
    linear = ("in_proj", "x_proj", "x_proj_b", "dt_proj", "dt_proj_b", "out_proj")
    assert decaying == {f"{layer}.weight" for layer in linear}
    assert len(decays) == len(list(small.parameters()))


def test_it_starts_as_mamba_does() -> None:
    mixer: Any = architecture(PLAIN).create().get_submodule("layers.1.mixer")
    for log, skip, projection in ((mixer.A_log, mixer.D, mixer.dt_proj), (mixer.A_b_log, mixer.D_b, mixer.dt_proj_b)):
        torch.testing.assert_close(log.exp(), torch.tensor([[1.0, 2.0, 3.0]]).expand(20, 3))
        assert (skip == 1).all()
        delta = F.softplus(projection.bias)
        assert delta.min() >= 0.99e-3 and delta.max() <= 0.101


@pytest.mark.parametrize(("model", "added"), [(PLAIN, 2), (HYBRID, 4)])
def test_what_adds_to_the_residual_stream_starts_small(model: dict[str, Any], added: int) -> None:
    """torch draws a linear layer's weights from ±1/√inputs; each of n that add to the stream is divided by √n."""
    net = architecture(model).create()
    found = [net.get_submodule(g.readers[-1].module).weight for g in architecture(model).structure.groups]
    assert len(found) == added
    for weight in found:
        bound = (weight.shape[1] * added) ** -0.5
        assert 0.9 * bound <= float(weight.detach().abs().max()) <= bound


def test_each_direction_sees_one_side() -> None:
    """The forward scan's part of a token depends on those before it, the backward scan's on those after; no other way round."""
    mixer: Any = build(PLAIN, torch.float64).get_submodule("layers.0.mixer")
    for silent, seen in (("_b", range(3)), ("", range(2, 6))):
        one_way = copy.deepcopy(mixer)
        with torch.no_grad():
            for name in (f"D{silent}", f"x_proj{silent}.weight"):
                one_way.get_parameter(name).zero_()
        tokens = torch.randn(1, 6, 10, dtype=torch.float64, requires_grad=True)
        one_way(tokens)[0, 2].sum().backward()
        assert tokens.grad is not None
        assert [t for t in range(6) if tokens.grad[0, t].abs().max() > 0] == list(seen)


def test_bfloat16_scans_in_float32() -> None:
    net, (images, _) = build(), batch(3)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = net(images)
    expected = net(images)
    assert (found.float() - expected).abs().max() <= 0.05 * expected.abs().max()  # bf16 has eight bits


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model.patch_size=3"], r"dataset.image_size=8 is not divisible by model.patch_size=3"),
        (["model.pretrained=true"], r"model.pretrained=true: timm has no weights of mamba"),
        (["method.targets=[heads]"], r"method.targets.*heads"),
        (["schedule.targets={heads: 0.5}"], r"schedule.targets.*heads"),
        (["model.name=vim_tiny"], r"model.depth=3 but vim_tiny has 24"),
        (["model.mlp_ratio=0.001"], r"gives no neuron"),
        (["model.d_state=0"], r"model.d_state=0"),
        (["model.global_pool=max"], r"model.global_pool='?max"),
        (["model.num_heads=3"], r"model.num_heads"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(compose: Compose, overrides: list[str], sentence: str) -> None:
    from hydra.errors import ConfigCompositionException

    if overrides == ["model.num_heads=3"]:
        with pytest.raises((UserError, ConfigCompositionException), match="num_heads"):
            compose("dataset=digits", "model=mamba_micro", *overrides)
        return
    with pytest.raises(UserError, match=sentence):
        compose("dataset=digits", "model=mamba_micro", *overrides)


def test_a_local_file_loads_strictly(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    trained = build()
    torch.save({"model": trained.state_dict()}, file)
    loaded = build_model(architecture({**PLAIN, "pretrained": str(file)}), 0)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in trained.state_dict().items())
    with pytest.raises(UserError, match=r"does not fit the model: it has layers\.1, which the model has not\."):
        build_model(architecture({**PLAIN, "depth": 1, "pretrained": str(file)}), 0)
    with pytest.raises(UserError, match=r"does not fit the model: it lacks layers\.2\."):
        build_model(architecture({**PLAIN, "depth": 3, "pretrained": str(file)}), 0)
