"""What the penalty touches: marked units only, all of their tensors, after the gradient is clipped."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from prune.architectures.build import build_model
from prune.engine.epoch import EpochSums, train_epoch
from prune.engine.job import Job, prepare
from prune.engine.run import step_hooks
from prune.engine.state import PruningState
from prune.engine.stop import Stop
from prune.methods.penalty_growth import simulate
from prune.methods.rsst import RSST
from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet
from prune.pruning.penalty import UnitPenalty
from prune.rundir.directory import RunDirectory
from tests.architectures.vits import MICRO, TINY, Shape, build, cut, keep_set, others, placed, random_units, units_of
from tests.conftest import Compose


@pytest.mark.parametrize("decoupled", [False, True])
def test_penalty_touches_marked_units_only(decoupled: bool) -> None:
    """Each entry of each tensor, biases included: marked ones move by λ·w, the others stay bit for bit."""
    kept = random_units(TINY, 1)
    model = build(TINY)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    before = {name: (p.detach().clone(), p.grad.clone()) for name, p in model.named_parameters() if p.grad is not None}
    UnitPenalty(model, TINY.structure, TINY.dense, keep_set(kept), decoupled).apply(strength=3.0, lr=0.1)

    marked = {name: torch.zeros_like(weight, dtype=torch.bool) for name, (weight, _) in before.items()}
    for name, dim, index in placed(TINY, others(TINY, kept)):
        marked[name][index if dim == 0 else (slice(None), index)] = True
    assert sum(int(mask.sum()) for mask in marked.values()) == sum(
        len(block) * size
        for blocks, size in zip(others(TINY, kept), (TINY.head_parameters, TINY.neuron_parameters), strict=True)
        for block in blocks
    )
    for name, parameter in model.named_parameters():
        weight, gradient = before[name]
        assert parameter.grad is not None
        shrunk = torch.where(marked[name], weight * (1 - 0.1 * 3.0), weight)
        pulled = torch.where(marked[name], gradient + 3.0 * weight, gradient)
        torch.testing.assert_close(parameter.detach(), shrunk if decoupled else weight)
        torch.testing.assert_close(parameter.grad, gradient if decoupled else pulled)
        assert torch.equal(parameter.detach()[~marked[name]], weight[~marked[name]])
        assert torch.equal(parameter.grad[~marked[name]], gradient[~marked[name]])


@pytest.mark.parametrize("decoupled", [False, True])
def test_all_tensors_together_get_what_each_would_by_itself(decoupled: bool) -> None:
    """The same bits as one multiply-add a tensor, also where a tensor has no gradient; nothing marked, nothing done."""
    model, keep = build(TINY), keep_set(random_units(TINY, 1))
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.randn_like(parameter) if number % 5 else None
    penalty = UnitPenalty(model, TINY.structure, TINY.dense, keep, decoupled)
    expected = []
    for weight, mask in zip(penalty.weights, penalty.masks, strict=True):
        gradient = None if weight.grad is None else weight.grad.addcmul(weight.detach(), mask, value=0.37)
        expected.append(weight.detach() * (1 - 0.01 * 0.37 * mask) if decoupled else gradient)
    UnitPenalty(model, TINY.structure, TINY.dense, TINY.dense, decoupled).apply(strength=0.37, lr=0.01)
    penalty.apply(strength=0.37, lr=0.01)
    for weight, wanted in zip(penalty.weights, expected, strict=True):
        found = weight.detach() if decoupled else weight.grad
        assert (found is None and wanted is None) or torch.equal(found, wanted)


def test_norm_is_that_of_the_marked_units() -> None:
    kept = random_units(MICRO, 4)
    model = build(MICRO)
    penalty = UnitPenalty(model, MICRO.structure, MICRO.dense, keep_set(kept), decoupled=False)
    tensors = dict(model.named_parameters())
    squares = sum(
        (tensors[name][index] if dim == 0 else tensors[name][:, index]).double().square().sum().item()
        for name, dim, index in placed(MICRO, others(MICRO, kept))
    )
    assert penalty.norm() == pytest.approx(math.sqrt(squares), rel=1e-6)  # the weights are float32
    assert UnitPenalty(model, MICRO.structure, MICRO.dense, MICRO.dense, decoupled=False).norm() == 0.0


def test_marked_units_of_a_compact_model_are_found_by_their_original_indices() -> None:
    alive, kept = ([[1, 4, 6], [0], [2, 3]], [[2, 3, 9], [190], [0, 1]]), ([[4], [0], [2, 3]], [[3, 9], [], [1]])
    marked = ([[1, 6], [], []], [[2], [190], [0]])
    model, without_them = build(MICRO), build(MICRO)
    of_marked = cut(dict(model.named_parameters()), MICRO, marked)
    squares = sum(of_marked[name].double().square().sum().item() for name, _, _ in placed(MICRO, marked))
    compact(model, MICRO.architecture, MICRO.dense, keep_set(alive))
    penalty = UnitPenalty(model, MICRO.structure, keep_set(alive), keep_set(kept), decoupled=True)
    assert penalty.norm() == pytest.approx(math.sqrt(squares), rel=1e-6)
    penalty.apply(strength=10.0, lr=0.1)  # to nothing at once
    assert penalty.norm() == 0.0
    compact(model, MICRO.architecture, keep_set(alive), keep_set(kept))
    compact(without_them, MICRO.architecture, MICRO.dense, keep_set(kept))
    wanted = dict(without_them.named_parameters())
    assert all(torch.equal(parameter, wanted[name]) for name, parameter in model.named_parameters())


RUN = Shape((8, 8), 4, channels=1, classes=10, embed_dim=16, depth=2, num_heads=4, mlp_hidden=32)
"""The model of the tiny runs."""


def started(job: Job) -> PruningState:
    """State 1 of an RSST run, as the loop would begin it."""
    model = build_model(job.architecture, job.config.seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)), alpha=0.05)
    state = job.state(1, model, KeepSet.dense(job.architecture.structure))
    job.method.prune(state)
    state.start()
    return state


def job_of(compose_tiny: Compose, *overrides: str) -> Job:
    config = compose_tiny("method=rsst", "optim.warmup_epochs=0", "schedule.epochs=8", *overrides)
    directory = Path(config.outputs) / "job"
    directory.mkdir(parents=True)
    return prepare(config, RunDirectory(directory), Stop(), threads=1)


@pytest.mark.parametrize(
    ("optim", "momentum", "ceiling"),
    [(("optim=sgd", "optim.lr=0.03", "optim.momentum=0.9"), 0.9, 2.0), (("optim=adamw", "optim.lr=3e-3"), None, 100.0)],
)
def test_penalty_comes_after_clipping_and_follows_the_simulation(
    compose_tiny: Compose, optim: tuple[str, ...], momentum: float | None, ceiling: float
) -> None:
    """With the gradient clipped to nothing only the penalty moves a weight: were the penalty clipped too, nothing would."""
    penalty = (f"method.penalty.ceiling={ceiling}", "method.penalty.schedule=x")
    job = job_of(compose_tiny, *optim, *penalty, "optim.grad_clip=1e-20", "optim.weight_decay=0")
    state, method = started(job), job.method
    assert isinstance(method, RSST)
    assert state.marked is not None
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    steps, lrs, strengths = job.loader.steps_per_epoch, [], []
    for epoch in range(3):
        for step in range(epoch * steps, (epoch + 1) * steps):
            strengths.append(method.penalty(state, step))
        train_epoch(
            state, step_hooks(method, state), epoch, 0, EpochSums.empty(steps, job.device), lambda _: lrs.append(state.lr)
        )
    expected = simulate([strength / ceiling for strength in strengths if strength is not None], lrs, ceiling, momentum)
    assert 0.001 < expected.final < 0.9
    # Every marked weight follows the same recursion, up to float32 roundings over thirty steps.
    assert state.marked_norm_ratio() == pytest.approx(expected.final, rel=1e-3)

    marked = set()
    for name, dim, index in placed(RUN, others(RUN, units_of(state.marked))):
        moved = state.tensors()[name].index_select(dim, torch.tensor(index, dtype=torch.int64))
        start = before[name].index_select(dim, torch.tensor(index, dtype=torch.int64))
        torch.testing.assert_close(moved.abs(), start.abs() * expected.final, rtol=1e-3, atol=1e-6)
        rest = [row for row in range(before[name].shape[dim]) if row not in set(index)]
        kept = torch.tensor(rest, dtype=torch.int64)
        # 1e-20 times any learning rate vanishes in float32; Adam divides by its square root plus 1e-8, which is no more.
        torch.testing.assert_close(
            state.tensors()[name].index_select(dim, kept), before[name].index_select(dim, kept), rtol=0, atol=1e-9
        )
        marked.add(name)
    for name, tensor in state.tensors().items():
        if name not in marked:
            torch.testing.assert_close(tensor, before[name], rtol=0, atol=1e-9)
