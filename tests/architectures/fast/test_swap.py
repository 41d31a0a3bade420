"""Fast classes are there while a training step computes its gradients, and at no other time; hooks keep them away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import Attention, Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from prune.architectures.base import make_architecture
from prune.architectures.fast.attention import PackedAttention
from prune.architectures.fast.mlp import CpuMlp
from prune.architectures.fast.paths import fast_paths
from prune.architectures.fast.residual import InPlaceBlock
from prune.architectures.fast.swap import FastPaths
from prune.engine.method import Method
from prune.engine.state import PruningState
from prune.methods.refill import Refill
from prune.pruning.compact import compact
from prune.pruning.criteria.base import Scoring
from prune.pruning.criteria.magnitude import Magnitude
from prune.pruning.keepset import KeepSet
from tests.conftest import Compose

PLAIN = (Block, Attention, Mlp)
FAST = (InPlaceBlock, PackedAttention, CpuMlp)
WIDTH, TOKENS = 24, 10


def vit(**options: Any) -> VisionTransformer:
    torch.manual_seed(0)
    sizes = {"img_size": 12, "patch_size": 4, "in_chans": 1, "num_classes": 5, "embed_dim": WIDTH, "depth": 2, "num_heads": 3}
    return VisionTransformer(**{**sizes, **options}).train()


def kinds(model: nn.Module) -> set[type]:
    return {type(module) for module in model.modules() if isinstance(module, PLAIN)}


def step(model: nn.Module, paths: FastPaths) -> list[Tensor]:
    """Output and gradients of one training step."""
    torch.manual_seed(1)
    with paths.installed():
        output = model(torch.randn(3, 1, 12, 12))
        output.square().sum().backward()
    return [output.detach(), *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]


def test_a_whole_step_gives_the_same_bits_and_leaves_the_library_s_own_classes() -> None:
    plain, ours = vit(), vit()
    paths = FastPaths(fast_paths(ours, "cpu"))
    with paths.installed():
        assert kinds(ours) == set(FAST)
    expected, found = step(plain, FastPaths([])), step(ours, paths)
    assert kinds(ours) == set(PLAIN)
    assert len(expected) == len(found) > 20
    assert all(torch.equal(left, right) for left, right in zip(expected, found, strict=True))


def test_the_classes_come_back_after_an_error() -> None:
    model = vit()
    with pytest.raises(KeyError), FastPaths(fast_paths(model, "cpu")).installed():
        raise KeyError
    assert kinds(model) == set(PLAIN)


def test_only_the_cpu_trains_the_mlp_in_its_own_way() -> None:
    assert {fast for _, fast in fast_paths(vit(), "cuda")} == {InPlaceBlock, PackedAttention}


def test_what_does_more_than_a_fast_class_stays_as_it_is() -> None:
    normalised = fast_paths(vit(qk_norm=True), "cpu")
    assert {fast for _, fast in normalised} == {InPlaceBlock, CpuMlp}
    unfused = vit()
    unfused.blocks[0].attn.fused_attn = False
    assert sum(fast is PackedAttention for _, fast in fast_paths(unfused, "cpu")) == 1
    scaled = vit(mlp_layer=lambda *args, **kwargs: Mlp(*args, **{**kwargs, "norm_layer": nn.LayerNorm}))
    assert CpuMlp not in {fast for _, fast in fast_paths(scaled, "cpu")}


@pytest.mark.parametrize("place", ["blocks.0", "blocks.0.attn", "blocks.0.attn.qkv", "blocks.0.mlp.fc1", "blocks.0.mlp.act"])
def test_a_hook_fires_and_what_it_keeps_stays_what_it_was(place: str) -> None:
    model = vit()
    paths = FastPaths(fast_paths(model, "cpu"))
    seen: list[tuple[Tensor, Tensor]] = []
    handle = model.get_submodule(place).register_forward_hook(lambda _, __, output: seen.append((output, output.clone())))
    step(model, paths)
    assert len(seen) == 1 and torch.equal(*seen[0])
    handle.remove()
    with paths.installed():
        assert kinds(model) == set(FAST)


@pytest.mark.parametrize("headless", [False, True])
@pytest.mark.parametrize("fused", [True, False])
def test_attention_that_timm_is_not_to_fuse_calls_no_fused_kernel(
    fused: bool, headless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a block that has lost all its heads."""
    calls: list[int] = []
    kernel = nn.functional.scaled_dot_product_attention

    def counted(*arguments: Any, **options: Any) -> Tensor:
        calls.append(1)
        return kernel(*arguments, **options)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", counted)
    model = vit()
    for block in model.blocks:
        block.attn.fused_attn = fused
    if headless:
        sizes = {"embed_dim": WIDTH, "depth": 2, "num_heads": 3, "mlp_ratio": 4}
        architecture = make_architecture({"family": "vit", "name": "custom", "patch_size": 4, **sizes}, 12, 1, 5)
        dense = KeepSet.dense(architecture.structure)
        compact(model, architecture, dense, KeepSet.from_lists({**dense.to_lists(), "blocks.1.attn": []}))
    step(model, FastPaths(fast_paths(model, "cpu")))
    assert len(calls) == (2 - headless if fused else 0)


def test_methods_and_criteria_see_plain_timm_in_a_whole_run(
    run_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[type]] = {}
    during: set[type] = set()

    def spy(owner: type, name: str, model_of: Callable[..., nn.Module]) -> None:
        original = getattr(owner, name)

        def wrapper(self: Any, *arguments: Any) -> Any:
            seen.setdefault(name, set()).update(kinds(model_of(*arguments)))
            return original(self, *arguments)

        monkeypatch.setattr(owner, name, wrapper)

    def of_state(state: PruningState, *_: Any) -> nn.Module:
        return state.model

    def of_scoring(scoring: Scoring) -> nn.Module:
        return scoring.model

    forward = VisionTransformer.forward

    def watched(self: VisionTransformer, *arguments: Any, **options: Any) -> Tensor:
        if self.training:
            during.update(kinds(self))
        return forward(self, *arguments, **options)

    monkeypatch.setattr(VisionTransformer, "forward", watched)
    spy(Refill, "prune", of_state)
    spy(Method, "before_step", of_state)
    spy(Method, "end_epoch", of_state)
    spy(Magnitude, "scores", of_scoring)
    assert run_tiny("method=refill").status == "done"
    assert seen.keys() == {"prune", "before_step", "end_epoch", "scores"}
    assert all(classes == set(PLAIN) for classes in seen.values()), seen
    assert during == set(FAST)


def test_a_loss_term_sees_plain_timm_and_may_differentiate_the_logits(
    run_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[tuple[Tensor, Tensor]] = []
    seen: set[type] = set()

    def loss_term(self: Refill, state: PruningState, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        seen.update(kinds(state.model))
        module = state.model.get_submodule("blocks.0")
        with module.register_forward_hook(lambda _, __, output: kept.append((output, output.detach().clone()))):
            again = state.model(images)
        parameters = [parameter for parameter in state.model.parameters() if parameter.numel()]
        torch.autograd.grad(nn.functional.cross_entropy(logits, labels), parameters, retain_graph=True)
        return 0 * again.sum()

    monkeypatch.setattr(Refill, "loss_term", loss_term)
    assert run_tiny("method=refill").status == "done"
    assert seen == set(PLAIN)
    assert all(torch.equal(output, copy) for output, copy in kept)


def test_compiled_steps_have_no_fast_classes(compose_tiny: Compose, tmp_path: Path) -> None:
    from prune.architectures.build import build_model
    from prune.engine.job import prepare
    from prune.engine.stop import Stop
    from prune.rundir.directory import RunDirectory

    for compile_it, expected in ((False, set(FAST)), (True, set(PLAIN))):
        config = compose_tiny(f"hardware.compile={str(compile_it).lower()}")
        job = prepare(config, RunDirectory(tmp_path), Stop(), threads=1)
        state = job.state(0, build_model(job.architecture, 0), KeepSet.dense(job.architecture.structure))
        with state.fast_paths.installed():
            assert kinds(state.model) == expected
