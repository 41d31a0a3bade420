"""The criterion of gradients, against the derivative of the loss by a factor on all of a unit's weights."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from prune.pruning.keepset import KeepSet
from tests.architectures.vits import Shape, build
from tests.pruning.criteria.oracle import EVERYTHING, batches, check, places, scores


def derivative_of_scale(model: VisionTransformer, data: tuple[Tensor, Tensor], block: int, kind: str, unit: int) -> float:
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
    shape = Shape((4, 4), 4, channels=1, classes=2, embed_dim=2, depth=1, num_heads=1, mlp_hidden=2, class_token=False)
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
    assert found["blocks.0.mlp"].tolist() == pytest.approx([0.0, expected], rel=1e-9, abs=1e-12)
    assert expected > 0.01
    assert found["blocks.0.attn"].tolist() == [0.0]
