"""Each criterion against a loop over the weights of each unit, on dense and compact models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from prune.pruning.compact import compact
from prune.architectures.shape import ViTShape
from prune.pruning.units import KINDS, KeepSet, Kind
from tests.pruning.criteria import EVERYTHING, EXACT, MATRICES, batches, check, densities, numbers, places, scores, size
from tests.architectures.vits import TINY, build

KEEPS = {
    "dense": KeepSet.dense(TINY),
    "pruned": KeepSet.from_lists([[0, 2], [1], [0, 1, 2]], [[0, 3, 4, 6], [2], [1, 5]]),
    "emptied": KeepSet.from_lists([[0, 2], [], [1]], [[], [2, 3], [1, 5, 6]]),
}


@pytest.fixture(params=KEEPS)
def keep(request: pytest.FixtureRequest) -> KeepSet:
    return KEEPS[request.param]


@pytest.fixture
def model(keep: KeepSet) -> VisionTransformer:
    model = build(TINY, dtype=torch.float64)
    compact(model, KeepSet.dense(TINY), keep)
    return model


def test_magnitude(model: VisionTransformer, keep: KeepSet) -> None:
    """Σ|w| over the rows that make the unit; no bias, nothing of what reads it."""
    check(
        scores("magnitude", model),
        keep,
        lambda block, kind, unit: sum(abs(w) for w in numbers(model, block, kind, unit, "producer")),
    )


def test_group_magnitude(model: VisionTransformer, keep: KeepSet) -> None:
    check(
        scores("group_magnitude", model),
        keep,
        lambda block, kind, unit: sum(w * w for w in numbers(model, block, kind, unit, *EVERYTHING)) ** 0.5,
    )


def surviving(model: VisionTransformer, keep: KeepSet, rate: float, kinds: Sequence[Kind]) -> list[float]:
    """The largest |w| of the alive units' matrices, as many as the rate leaves of the dense model's."""
    listed = [
        abs(w)
        for kind in kinds
        for block, alive in enumerate(keep.of(kind))
        for unit in range(len(alive))
        for w in numbers(model, block, kind, unit, *MATRICES)
    ]
    per_unit = {"heads": 4 * TINY.head_dim * TINY.embed_dim, "neurons": 2 * TINY.embed_dim}
    totals = {"heads": TINY.depth * TINY.num_heads, "neurons": TINY.depth * TINY.mlp_hidden}
    dense = sum(per_unit[kind] * totals[kind] for kind in kinds)
    return sorted(listed, reverse=True)[: round((1 - rate) * dense)]


@pytest.mark.parametrize("kinds", [KINDS, ("heads",), ("neurons",)])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_remaining(model: VisionTransformer, keep: KeepSet, rate: float, kinds: tuple[Kind, ...]) -> None:
    alive = set(surviving(model, keep, rate, kinds))

    def left(block: int, kind: Kind, unit: int) -> list[float]:
        return [abs(w) for w in numbers(model, block, kind, unit, *MATRICES) if abs(w) in alive]

    present = [kind for kind in kinds if sum(keep.counts(kind)) > 5] or kinds
    found, counted = scores("remaining", model, rate, kinds), scores("remaining_count", model, rate, kinds)
    for kind in present:
        for block, units in enumerate(keep.of(kind)):
            for unit in range(len(units)):
                assert found.of(kind)[block][unit].item() == pytest.approx(sum(left(block, kind, unit)), rel=1e-9)
                assert counted.of(kind)[block][unit].item() == len(left(block, kind, unit))
    total = sum(int(vector.sum()) for kind in kinds for vector in counted.of(kind))
    assert total == len(alive)  # one threshold for all; random weights have no ties


def derivative_of_scale(model: VisionTransformer, data: tuple[Tensor, Tensor], block: int, kind: Kind, unit: int) -> float:
    """dL/dα at α = 1 where all the unit's weights are multiplied by α: by the chain rule that is Σ w·∂L/∂w."""
    alpha = torch.ones((), dtype=torch.float64, requires_grad=True)
    tensors = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    scales = {name: torch.ones_like(tensor) for name, tensor in tensors.items()}
    for role in EVERYTHING:
        for name, index in places(model, block, kind, unit)[role]:
            scales[name][index] = 0.0
    scaled = {name: tensor * (scales[name] + (1 - scales[name]) * alpha) for name, tensor in tensors.items()}
    loss = F.cross_entropy(functional_call(model, scaled, (data[0],)), data[1])
    return torch.autograd.grad(loss, alpha)[0].item()


def test_taylor(model: VisionTransformer, keep: KeepSet) -> None:
    data = batches()
    check(
        scores("taylor", model, data=data),
        keep,
        lambda block, kind, unit: sum(derivative_of_scale(model, one, block, kind, unit) ** 2 for one in data) / len(data),
    )
    assert all(parameter.grad is None for parameter in model.parameters())


def test_taylor_of_a_case_worked_out_by_hand() -> None:
    """One neuron matters, through one logit: L = log(1 + e^(-z)) with z = w₂·gelu(b₁), all other paths cut."""
    shape = ViTShape((4, 4), 4, channels=1, classes=2, embed_dim=2, depth=1, num_heads=1, mlp_hidden=2, class_token=False)
    model = build(shape, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        block = model.blocks[0]
        block.mlp.fc1.bias[1] = 1.5
        block.mlp.fc2.weight[0, 1] = 2.0
        model.head.weight[0, 0] = 1.0
    model.norm = model.fc_norm = nn.Identity()
    images, labels = torch.zeros((3, 1, 4, 4), dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
    found = scores("taylor", model, data=[(images, labels)], shape=shape)

    b, w = (
        torch.tensor(1.5, dtype=torch.float64, requires_grad=True),
        torch.tensor(2.0, dtype=torch.float64, requires_grad=True),
    )
    loss = torch.log1p(torch.exp(-w * F.gelu(b)))
    loss.backward()
    assert b.grad is not None
    assert w.grad is not None
    expected = (b * b.grad + w * w.grad).item() ** 2
    torch.testing.assert_close(found.neurons[0], torch.tensor([0.0, expected], dtype=torch.float64), **EXACT)
    assert expected > 0.01
    assert found.heads[0].tolist() == [0.0]


def block_inputs(model: VisionTransformer, images: Tensor) -> list[Tensor]:
    """What enters each block."""
    seen: list[Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for block in model.blocks]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return seen


@torch.no_grad()
def head_activation(model: VisionTransformer, x: Tensor, block: int, unit: int) -> float:
    """mean |softmax(q·kᵀ/√d)·v| of one head, from the definition of attention."""
    attn, x = model.blocks[block].attn, model.blocks[block].norm1(x)
    tensors = dict(model.named_parameters())
    rows = [index[0] for _, index in places(model, block, "heads", unit)["producer"]]
    made = x @ tensors[f"blocks.{block}.attn.qkv.weight"][rows].T + tensors[f"blocks.{block}.attn.qkv.bias"][rows]
    q, k, v = made.chunk(3, dim=-1)
    weights = torch.softmax(q @ k.transpose(1, 2) / attn.head_dim**0.5, dim=-1)
    return (weights @ v).abs().mean().item()


@torch.no_grad()
def neuron_activation(model: VisionTransformer, x: Tensor, block: int, unit: int) -> float:
    """mean |gelu(w·x + b)| of one neuron."""
    whole = model.blocks[block]
    x = x + whole.attn(whole.norm1(x))
    before = whole.norm2(x) @ whole.mlp.fc1.weight[unit] + whole.mlp.fc1.bias[unit]
    return F.gelu(before).abs().mean().item()


def test_activation(model: VisionTransformer, keep: KeepSet) -> None:
    data = batches()
    seen = [block_inputs(model, images) for images, _ in data]

    def expected(block: int, kind: Kind, unit: int) -> float:
        one = head_activation if kind == "heads" else neuron_activation
        return sum(one(model, inputs[block], block, unit) for inputs in seen) / len(seen)

    # The criterion adds up in float32, whatever the model computes in.
    check(scores("activation", model, data=data), keep, expected, {"rtol": 1e-6, "atol": 1e-9})


@pytest.mark.parametrize("name", ["taylor", "activation"])
def test_criteria_that_need_data_work_in_evaluation_mode(name: str) -> None:
    model = build(TINY, dtype=torch.float64)
    calm = scores(name, model, data=batches())
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    found = scores(name, model, data=batches())
    assert model.training
    assert all(module.training for module in model.modules())
    for kind in KINDS:
        assert all(torch.equal(a, b) for a, b in zip(found.of(kind), calm.of(kind), strict=True))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_random_is_seeded_and_uniform() -> None:
    model = build(TINY)
    first, again, other = (scores("random", model, state=state) for state in (1, 1, 2))
    flat = [torch.cat([*found.heads, *found.neurons]) for found in (first, again, other)]
    assert torch.equal(flat[0], flat[1])
    assert not torch.equal(flat[0], flat[2])
    wide = ViTShape((4, 4), 4, channels=1, classes=2, embed_dim=4, depth=4, num_heads=2, mlp_hidden=1000)
    drawn = torch.cat(scores("random", build(wide), shape=wide).neurons)
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert abs(drawn.mean() - 0.5) < 5 * (1 / 12 / 4000) ** 0.5  # five standard errors of a uniform mean
    assert len(drawn.unique()) > 3990


DENSITIES: dict[str, Callable[[list[float]], float]] = {
    "magnitude": lambda weights: sum(abs(w) for w in weights),
    "group_magnitude": lambda weights: sum(w * w for w in weights),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_from_weights(name: str, model: VisionTransformer, keep: KeepSet) -> None:
    check(
        densities(name, model),
        keep,
        lambda block, kind, unit: DENSITIES[name](numbers(model, block, kind, unit, *EVERYTHING)) / size(kind),
    )


@pytest.mark.parametrize("name", ["remaining", "remaining_count", "taylor"])
def test_densities_from_scores(name: str, model: VisionTransformer, keep: KeepSet) -> None:
    data = batches(2)
    plain = scores(name, model, data=data)
    power = 0.5 if name == "taylor" else 1
    check(
        densities(name, model, data=data),
        keep,
        lambda block, kind, unit: plain.of(kind)[block][unit].item() ** power / size(kind),
    )


def test_density_of_random_is_as_drawn() -> None:
    model = build(TINY)
    drawn, dense = scores("random", model), densities("random", model)
    assert torch.equal(torch.cat([*drawn.heads, *drawn.neurons]), torch.cat([*dense.heads, *dense.neurons]))


def test_activations_cannot_be_compared_between_kinds() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        densities("activation", build(TINY), data=batches(1))
