"""A training step on a GPU, without one: nothing on the wrong device, no wait for the host, nothing sent to the device."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException

from prune.engine.epoch import EpochSums, train_epoch
from prune.engine.run import step_hooks
from tests.conftest import TINY_RUN, Compose
from tests.engine.fake_gpu import GPU, Traffic, fake_gpu, move
from tests.engine.states import first_state

TINY = tuple(option for option in TINY_RUN if not option.startswith("model."))

FAMILIES = {
    "vit": ("model.depth=2", "model.embed_dim=16", "model.num_heads=4", "model.mlp_ratio=2", "model.proj_drop_rate=0.1",
            "model.attn_drop_rate=0.1", "model.drop_path_rate=0.1"),
    "swin": ("model=swin_micro",),
    "mamba": ("model=mamba_hybrid_micro",),
}  # fmt: skip

AUGMENTED = ("dataset.augment.crop_padding=1", "dataset.augment.flip=true")

CASES = list(product(FAMILIES, ("dense", "refill", "rsst"), ("float32", "bf16")))

SHORT = ("optim.batch_size=400", "optim.grad_clip=1", "hardware.eval_batch_size=50")
"""Three steps an epoch, four batches of validation."""


@pytest.mark.parametrize(("family", "method", "precision"), CASES)
def test_a_training_step_neither_waits_for_the_host_nor_sends_anything(
    compose: Compose, tmp_path: Path, family: str, method: str, precision: str
) -> None:
    train(compose, tmp_path, family, f"method={method}", f"optim.precision={precision}")


@pytest.mark.parametrize("optim", ["sgd", "adamw"])
def test_nor_does_the_penalty_with_either_optimiser(compose: Compose, tmp_path: Path, optim: str) -> None:
    train(compose, tmp_path, "vit", "method=rsst", f"optim={optim}", "method.penalty.ceiling=1e-3")


def test_nor_does_a_recipe(compose: Compose, tmp_path: Path) -> None:
    recipe = ("recipe.mix.mixup=0.8", "recipe.mix.cutmix=1", "recipe.randaugment.ops=2", "recipe.erasing.prob=0.5")
    train(compose, tmp_path, "vit", "method=dense", *recipe)


def train(compose: Compose, folder: Path, family: str, *overrides: str) -> None:
    """Three steps of state 1 as the method begins it, and a validation."""
    config = compose(*TINY, *FAMILIES[family], *AUGMENTED, *SHORT, *overrides)
    job, dense = first_state(config, folder)
    pruned, loader = job.state(1, dense.model, dense.alive), job.loader
    marked = None
    if config.method.name != "dense":
        keep = pruned.choose(pruned.score())
        if config.method.name == "refill":
            pruned.remove(keep)
        else:
            marked = keep
    drawn = vars(loader.draws(1, 0, 0)[0])  # type: ignore[attr-defined]
    seen: list[tuple[int, int, int]] = []
    dtypes: set[torch.dtype] = set()
    with fake_gpu():
        model = move(pruned.model)
        move(loader)
        state = replace(job, device=GPU).state(1, model, pruned.alive)
        state.start()
        state.marked = marked
        if marked is not None:
            state.penalise(0.0)  # from now on it has its masks
        sums = EpochSums.empty(loader.steps_per_epoch, GPU)
        linear = next(module for module in model.modules() if isinstance(module, torch.nn.Linear))
        linear.register_forward_hook(lambda _, __, output: dtypes.add(output.dtype))
        with Traffic() as traffic:
            train_epoch(
                state, step_hooks(job.method, state), 0, 0, sums,
                lambda _: seen.append((traffic.up, traffic.down, traffic.operations)),
            )  # fmt: skip
        with Traffic() as evaluation, pytest.raises(DataDependentOutputException):  # where the numbers are read, at last
            state.measure("val")
    tensors = sum(isinstance(value, torch.Tensor) for value in drawn.values())
    assert seen[0][:2] == (tensors, 0), "an epoch's draws go up once, each kind of them by one copy"
    assert len(seen) == loader.steps_per_epoch == 3
    for before, after in pairwise(seen):
        assert after[:2] == before[:2]
        assert after[2] - before[2] > 100  # a step was taken
    assert traffic.by_index == set()
    assert dtypes == {torch.bfloat16 if config.optim.precision == "bf16" else torch.float32}
    assert (evaluation.up, evaluation.down) == (1, 1)


# ---- what would be noticed ----------------------------------------------------------------------------------------------


def test_a_tensor_on_the_wrong_device_raises() -> None:
    with fake_gpu(), pytest.raises(Exception, match="same device"):
        torch.ones(2, device=GPU) + torch.ones(2)


def test_a_list_with_a_tensor_on_the_wrong_device_raises() -> None:
    with fake_gpu(), Traffic(), pytest.raises(RuntimeError, match="same device"):
        torch._foreach_mul_([torch.ones(2, device=GPU), torch.ones(2, device=GPU)], [torch.ones(2, device=GPU), torch.ones(2)])


@pytest.mark.parametrize("read", [float, bool, torch.Tensor.item])
def test_reading_a_value_raises(read: object) -> None:
    with fake_gpu(), pytest.raises(DataDependentOutputException):
        read(torch.ones((), device=GPU))  # type: ignore[operator]


def test_what_goes_by_index_is_noted() -> None:
    with fake_gpu(), Traffic() as traffic:
        numbers, places = torch.ones(2, 3, device=GPU), torch.ones(2, 3, dtype=torch.int64, device=GPU)
        numbers[numbers > 0] = 0.0
        numbers.masked_fill_(places > 0, 1)
        places[0].scatter_add_(0, places[0], places[1])
        assert traffic.by_index == set()
        numbers.scatter_add_(1, places, numbers)
        numbers.index_copy_(0, places[0, :2], numbers)
        numbers[places[0]] = 1.0
    assert traffic.by_index == {"scatter_add_.default", "index_copy_.default", "index_put_.default"}


def test_copies_are_counted_both_ways() -> None:
    with fake_gpu(), Traffic() as traffic:
        there = torch.ones(2).to(GPU)
        torch.tensor([1.0, 2.0], device=GPU)
        there.copy_(torch.ones(2))
        there.add_(1).to(torch.float64).cpu()
    assert (traffic.up, traffic.down) == (3, 1)
