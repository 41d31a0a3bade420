"""The selective scan against a loop over time in float64, and against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from prune.architectures import mamba, scan
from prune.architectures.scan import doubling_scan, selective_scan

SIZES = (2, 3, 4, 5)
"""Directions, images, channels, numbers of state."""


def inputs(length: int, dtype: torch.dtype = torch.float64, images: int = SIZES[1], rate: float = 1.0) -> list[Tensor]:
    """x, Δ, A, B, C."""
    directions, _, channels, states = SIZES
    draw = torch.Generator().manual_seed(length)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=draw, dtype=torch.float64)

    sequence = (directions, images, length)
    x, delta = normal(*sequence, channels), torch.nn.functional.softplus(normal(*sequence, channels))
    a, b, c = -rate * normal(directions, states, channels).exp(), normal(*sequence, states), normal(*sequence, states)
    return [tensor.to(dtype).requires_grad_() for tensor in (x, delta, a, b, c)]


def naive(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The formula, one channel's state after the other: h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_t, y_t = C_t · h_t."""
    directions, images, length, channels = x.shape
    rows = []
    for k in range(directions):
        for m in range(images):
            for d in range(channels):
                state = torch.zeros(a.shape[1], dtype=x.dtype)
                for t in range(length):
                    step = delta[k, m, t, d]
                    state = torch.exp(step * a[k, :, d]) * state + step * x[k, m, t, d] * b[k, m, t]
                    rows.append(c[k, m, t] @ state)
    return torch.stack(rows).view(directions, images, channels, length).transpose(2, 3)


def with_gradients(function: object, tensors: list[Tensor]) -> list[Tensor]:
    y = function(*tensors)  # type: ignore[operator]
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), tensors, materialize_grads=True)]


@pytest.mark.parametrize("length", [1, 2, 4, 65])
@pytest.mark.parametrize("function", [selective_scan, doubling_scan])
def test_it_is_the_loop_over_time(function: object, length: int) -> None:
    for found, expected in zip(with_gradients(function, inputs(length)), with_gradients(naive, inputs(length)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)  # float64; only the order of sums differs


def test_gradients_are_those_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(selective_scan, inputs(6, images=1))


def test_images_in_parts_are_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_gradients(selective_scan, inputs(7, images=5))
    monkeypatch.setattr(scan, "CACHE", 2 * 2 * 2 * 7 * 4 * 5 * 8)  # of two images: the last part has one
    for found, expected in zip(with_gradients(selective_scan, inputs(7, images=5)), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rate", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("function", [selective_scan, doubling_scan])
def test_float32_stays_close_whatever_is_forgotten(function: object, rate: float) -> None:
    """States that forget nothing in 197 steps, and states that forget everything in one, whose factors underflow to zero."""
    found = with_gradients(function, inputs(197, torch.float32, images=1, rate=rate))
    expected = with_gradients(naive, inputs(197, images=1, rate=rate))
    for value, exact in zip(found, expected, strict=True):
        assert torch.isfinite(value).all()
        # 197 additions of float32 roundings (6e-8), relative to the largest entry.
        assert (value - exact).abs().max() <= 2e-5 * exact.abs().max().clamp_min(1e-30)


def test_its_multiply_accumulates_are_counted() -> None:
    tensors = inputs(6)
    directions, images, channels, states = SIZES
    forward = 3 * directions * images * 6 * channels * states
    with FlopCounterMode(display=False) as counter:
        y = selective_scan(*tensors)
    assert counter.get_total_flops() == 2 * forward
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert counter.get_total_flops() == 2 * 2 * forward
    assert mamba.SCAN_MACS == scan.MACS == 3


def test_it_is_an_operator_that_torch_can_trace() -> None:
    torch.library.opcheck(
        torch.ops.prune.selective_scan.default, tuple(inputs(3)), test_utils=("test_schema", "test_faketensor")
    )
