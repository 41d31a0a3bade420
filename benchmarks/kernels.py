"""Parts of a ViT block, each written in the standard ways that keep the maths equal; forward and backward, this CPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from benchmarks.cpu import machine
from benchmarks.scale import FULL, Scale
from benchmarks.timing import quartiles, ratios, take_turns
from prune.architectures.fast.allocator import keep_freed_memory
from prune.base.machine import cpu_count

Forward = Callable[..., Tensor]

TOKENS, HEADS, WIDTH = 65, 6, 64


def sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v


def contiguous_sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous())


def batched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    shape = q.shape
    q, k, v = (part.reshape(-1, *shape[2:]) for part in (q, k, v))
    scores = torch.baddbmm(q.new_empty(()).expand(len(q), shape[2], shape[2]), q, k.mT, beta=0, alpha=shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1), v).view(shape)


def erf_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x * 0.5**0.5))


def plain_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return (x - mean) * (variance + 1e-6).rsqrt() * weight + bias


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-6)


def linear_3d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight, bias)


def linear_2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias, x.flatten(0, 1), weight.t()).view(*x.shape[:-1], -1)


def linear_apart(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.mm(x.flatten(0, 1), weight.t()).view(*x.shape[:-1], -1) + bias


def parts(batch: int) -> dict[str, tuple[list[Tensor], dict[str, Forward]]]:
    """Per part: its inputs and the ways to compute it; the first is the one in use."""
    dim, hidden = HEADS * WIDTH, 4 * HEADS * WIDTH
    qkv = torch.randn(batch, TOKENS, 3 * dim)  # as the layer gives it
    tokens = torch.randn(batch, TOKENS, dim)

    def packed(x: Tensor) -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in x.view(batch, TOKENS, 3, HEADS, WIDTH).unbind(2))
        return sdpa(q, k, v).transpose(1, 2).reshape(batch, TOKENS, dim)

    def moved(function: Forward) -> Forward:
        # As in timm: q, k and v are moved to the front before they are separated.
        view = (batch, TOKENS, 3, HEADS, WIDTH)
        return lambda x: function(*x.view(view).permute(2, 0, 3, 1, 4).unbind(0)).transpose(1, 2).reshape(batch, TOKENS, dim)

    ways = {"timm's": sdpa, "explicit": explicit, "contiguous inputs": contiguous_sdpa, "bmm with scale": batched}
    return {
        "attention": ([qkv], {"packed": packed, **{name: moved(function) for name, function in ways.items()}}),
        "GELU": ([torch.randn(batch, TOKENS, hidden)], {"F.gelu": F.gelu, "from erf": erf_gelu}),
        "LayerNorm": (
            [tokens, torch.ones(dim), torch.zeros(dim)],
            {"F.layer_norm": layer_norm, "from var_mean": plain_norm},
        ),
        "linear": (
            [tokens.clone(), torch.randn(hidden, dim) * 0.02, torch.zeros(hidden)],
            {"F.linear": linear_3d, "addmm": linear_2d, "mm + bias": linear_apart},
        ),
    }


def there_and_back(function: Forward, inputs: list[Tensor]) -> Callable[[], None]:
    """A call of forward and backward."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    gradient = torch.randn_like(function(*leaves))
    return lambda: torch.autograd.backward(function(*leaves), gradient, inputs=leaves)


def run(scale: Scale, file: Path | None) -> None:
    """Print milliseconds and the ratio to the way in use."""
    keep_freed_memory()
    torch.set_num_threads(scale.threads or cpu_count())
    table = Table(title=f"forward and backward, batch {scale.batch_size}, {TOKENS} tokens, {torch.get_num_threads()} threads")
    for column in ("part", "way", "milliseconds", "ratio to the first", "quartiles"):
        table.add_column(column, justify="left" if column in ("part", "way") else "right")
    rows = []
    for part, (inputs, ways) in parts(scale.batch_size).items():
        calls = {name: there_and_back(function, inputs) for name, function in ways.items()}
        times = take_turns(calls, scale.many if scale is FULL else 2, warmup=2)
        first = next(iter(times.values()))
        for name, seconds in times.items():
            low, middle, high = quartiles(ratios(seconds, first))
            milliseconds = 1000 * quartiles(seconds)[1]
            rows.append({"part": part, "way": name, "milliseconds": milliseconds, "ratio": middle, "low": low, "high": high})
            table.add_row(part, name, f"{milliseconds:.2f}", f"{middle:.3f}", f"{low:.3f} … {high:.3f}")
    Console(width=120).print(table)
    if file is not None:
        file.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=2) + "\n")
