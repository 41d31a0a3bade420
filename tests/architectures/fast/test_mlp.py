"""The MLP as a CPU trains it: another width and other places for its tensors, the same function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.layers import Mlp
from torch import nn

from prune.architectures.fast.mlp import CpuMlp, can_be_overwritten
from tests.architectures.fast.twins import results, twin

WIDTH = 384


def pair(neurons: int, **options: Any) -> tuple[Mlp, CpuMlp]:
    """The same weights in timm's MLP and in the one for a CPU, in training mode."""
    torch.manual_seed(neurons)
    plain = Mlp(WIDTH, neurons, **options).train()
    return plain, twin(plain, CpuMlp)


def overwrites(module: nn.Module, precision: torch.dtype = torch.float32) -> bool:
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        output = module(torch.randn(1, 2, WIDTH))
    return type(output.grad_fn.next_functions[0][0]).__name__ == "OverwritingMlpBackward"


@pytest.mark.parametrize(("neurons", "options"), [(457, {}), (1, {}), (0, {}), (457, {"act_layer": nn.ReLU})])
def test_padded_outputs_and_gradients_are_the_same(neurons: int, options: dict[str, Any]) -> None:
    (output, *found), (expected, *wanted) = (results(module, WIDTH) for module in reversed(pair(neurons, **options)))
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    for left, right in zip(found, wanted, strict=True):
        assert left.shape == right.shape
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5 * float(right.abs().max() if right.numel() else 1))


@pytest.mark.parametrize("neurons", [1536, 464, 40])
def test_overwriting_gives_the_same_bits(neurons: int) -> None:
    plain, ours = pair(neurons)
    assert overwrites(ours)
    expected, found = results(plain, WIDTH), results(ours, WIDTH)
    assert len(expected) == len(found) == 6
    assert all(torch.equal(left, right) for left, right in zip(expected, found, strict=True))


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ({"drop": 0.3}, torch.float32),
        ({"act_layer": nn.ReLU}, torch.float32),
        ({"act_layer": lambda: nn.GELU("tanh")}, torch.float32),
        ({}, torch.bfloat16),
    ],
)
def test_what_is_not_gelu_alone_in_float32_is_left_to_autograd(options: dict[str, Any], precision: torch.dtype) -> None:
    plain, ours = pair(464, **options)
    assert not overwrites(ours, precision)
    expected, found = results(plain, WIDTH, precision), results(ours, WIDTH, precision)
    assert all(torch.equal(left, right) and left.dtype == right.dtype for left, right in zip(expected, found, strict=True))


def test_a_second_backward_pass_fails_instead_of_reading_what_was_overwritten() -> None:
    loss = pair(464)[1](torch.randn(2, 3, WIDTH)).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_evaluation_is_not_padded() -> None:
    _, ours = pair(457)
    widths: list[int] = []
    ours.fc2.register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[-1]))
    ours.eval()(torch.randn(1, 2, WIDTH))
    assert widths == [457]


def test_an_mlp_with_a_norm_or_without_biases_stays_as_it_is() -> None:
    assert can_be_overwritten(Mlp(WIDTH, 40))
    assert not can_be_overwritten(Mlp(WIDTH, 40, norm_layer=nn.LayerNorm))
    assert not can_be_overwritten(Mlp(WIDTH, 40, bias=False))
    assert not can_be_overwritten(Mlp(WIDTH, 40, use_conv=True))
