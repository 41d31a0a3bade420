"""The selective scan of Mamba (Gu & Dao, arXiv 2312.00752), in plain torch, with a backward pass written by hand.

For each direction k, image m and channel d, with N numbers of state and time t = 0..L-1:

    h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_t        y_t = C_t · h_t        h_{-1} = 0

A is negative and Δ positive, so every factor is in (0, 1]: going through time step by step, with all directions and channels at
once, no number grows that the exact result does not have. The states are not kept for the backward pass but computed again, as
Mamba's own kernel does: what is kept is N times smaller.

The scan costs three multiply-accumulates for each step, channel and number of state: what the state keeps, what it takes in,
and what is read out of it. torch's FLOP counter is told so. Forming exp(ΔA) and Δx is element-wise and counts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

MACS = 3
"""For each step, channel and number of state: a·h, Δx·B, C·h."""

CACHE = 8 << 20
"""Bytes of a processor's cache that the states of the images computed at once may take."""

_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # torch 2.6 has only the wider question


def selective_scan(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """y of the formula above.

    Args:
        x, delta: (directions, images, L, channels); delta > 0. All are float32 or all float64.
        a: (directions, N, channels), negative.
        b, c: (directions, images, L, N).
    """
    if _exporting():
        return doubling_scan(x, delta, a, b, c)
    y: Tensor = torch.ops.prune.selective_scan(x, delta, a, b, c)
    return y


def doubling_scan(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The same in ⌈log₂ L⌉ steps over the whole sequence: few nodes for an exported file, more work and memory.

    After the step of width w each entry holds what the last 2w steps contribute, and the factor over these.
    """
    length = x.shape[2]
    factor = torch.exp(delta.unsqueeze(-2) * a[:, None, None])  # (directions, images, L, N, channels)
    state = (delta * x).unsqueeze(-2) * b.unsqueeze(-1)
    width = 1
    while width < length:
        late, early = slice(width, None), slice(None, length - width)
        state = torch.cat((state[:, :, :width], state[:, :, late] + factor[:, :, late] * state[:, :, early]), dim=2)
        factor = torch.cat((factor[:, :, :width], factor[:, :, late] * factor[:, :, early]), dim=2)
        width *= 2
    return (state * c.unsqueeze(-1)).sum(-2)


# ---- the operator: forward and backward pass, as torch wants them ----------------------------------------------------------


def _forward(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    y = torch.empty_like(x)
    for part in _parts(x, a.shape[1], buffers=2 / max(x.shape[2], 1)):
        _forward_part(y[:, part], x[:, part], delta[:, part], a.unsqueeze(1), b[:, part], c[:, part])
    return y


def _forward_part(y: Tensor, x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> None:
    taken = delta * x
    state = x.new_zeros((*x.shape[:2], a.shape[2], x.shape[3]))
    factor = torch.empty_like(state)
    for t in range(x.shape[2]):
        torch.mul(delta[:, :, t, None], a, out=factor).exp_()
        state.mul_(factor).addcmul_(taken[:, :, t, None], b[:, :, t, :, None])
        y[:, :, t] = (c[:, :, t, None] @ state).squeeze(2)


def _backward(grad: Tensor, x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
    by = [torch.empty_like(x), torch.empty_like(x), torch.zeros_like(a), torch.empty_like(b), torch.empty_like(b)]
    for part in _parts(x, a.shape[1], buffers=2):
        given = (grad[:, part], x[:, part], delta[:, part], a.unsqueeze(1), b[:, part], c[:, part])
        _backward_part(by[0][:, part], by[1][:, part], by[2], by[3][:, part], by[4][:, part], *given)
    return by


def _backward_part(
    by_x: Tensor, by_delta: Tensor, by_a: Tensor, by_b: Tensor, by_c: Tensor,
    grad: Tensor, x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor,
) -> None:  # fmt: skip
    length, taken = x.shape[2], delta * x
    sizes = (*x.shape[:2], a.shape[2], x.shape[3])
    factors, states = x.new_empty((length, *sizes)), x.new_empty((length, *sizes))
    state = x.new_zeros(sizes)
    for t in range(length):
        torch.mul(delta[:, :, t, None], a, out=factors[t]).exp_()
        state = torch.mul(state, factors[t], out=states[t]).addcmul_(taken[:, :, t, None], b[:, :, t, :, None])

    # Of the loss: by h_t (`later`, all that comes after included), then by each thing that h_t is made of.
    later, by_rate = x.new_zeros(sizes), x.new_zeros(sizes)
    by_log, scratch = torch.empty_like(later), torch.empty_like(later)
    by_taken = torch.empty_like(x)
    for t in reversed(range(length)):
        later.addcmul_(c[:, :, t, :, None], grad[:, :, t, None])
        by_c[:, :, t] = (states[t] @ grad[:, :, t, :, None]).squeeze(3)
        by_b[:, :, t] = (later @ taken[:, :, t, :, None]).squeeze(3)
        by_taken[:, :, t] = (b[:, :, t, None] @ later).squeeze(2)
        later.mul_(factors[t])
        if t == 0:
            by_delta[:, :, 0] = 0
            break  # the state before the first step is zero
        torch.mul(later, states[t - 1], out=by_log)  # by Δ_t A, the factor's logarithm
        by_delta[:, :, t] = torch.mul(by_log, a, out=scratch).sum(2)
        by_rate.addcmul_(by_log, delta[:, :, t, None])
    torch.mul(by_taken, delta, out=by_x)
    by_delta.addcmul_(by_taken, x)
    by_a += by_rate.sum(1)


def _parts(x: Tensor, d_state: int, buffers: float) -> Iterator[slice]:
    """Images in parts whose states fit a processor's cache; all at once on a GPU, where fewer and larger calls are better."""
    directions, images, length, channels = x.shape
    one = buffers * directions * length * d_state * channels * x.element_size()
    size = images if x.device.type != "cpu" else max(1, int(CACHE / one))
    return (slice(start, start + size) for start in range(0, images, size))


torch.library.custom_op(
    "prune::selective_scan",
    _forward,
    mutates_args=(),
    schema="(Tensor x, Tensor delta, Tensor a, Tensor b, Tensor c) -> Tensor",
).register_fake(lambda x, delta, a, b, c: torch.empty_like(x))

torch.library.custom_op(
    "prune::selective_scan_backward", _backward, mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor delta, Tensor a, Tensor b, Tensor c) -> Tensor[]",
).register_fake(lambda grad, *inputs: [torch.empty_like(tensor) for tensor in inputs])  # fmt: skip


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.ops.prune.selective_scan_backward(grad, *ctx.saved_tensors))


torch.library.register_autograd("prune::selective_scan", _autograd, setup_context=_save)


def _flops(x: tuple[int, ...], a: tuple[int, ...], passes: int) -> int:
    directions, images, length, channels = x
    return 2 * MACS * passes * directions * images * length * channels * a[1]


@register_flop_formula(torch.ops.prune.selective_scan)
def _forward_flops(x: Any, delta: Any, a: Any, *_: Any, **__: Any) -> int:
    return _flops(x, a, 1)


@register_flop_formula(torch.ops.prune.selective_scan_backward)
def _backward_flops(grad: Any, x: Any, delta: Any, a: Any, *_: Any, **__: Any) -> int:
    return _flops(x, a, 2)
