"""Small Vision Mambas, and where a channel is in them, tensor by tensor: nothing here uses the package's own slicing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from prune.architectures.base import Architecture, make_architecture
from prune.pruning.keepset import KeepSet

PLAIN: dict[str, Any] = {"family": "mamba", "name": "custom", "patch_size": 4, "depth": 2, "embed_dim": 10, "d_state": 3}
HYBRID = {**PLAIN, "mlp_ratio": 1.5, "norm": "layer", "global_pool": "avg", "d_conv": 3}

Lists = dict[str, list[int]]
"""Group → units."""


def architecture(model: dict[str, Any] = PLAIN) -> Architecture:
    return make_architecture(model, (8, 12), 2, 5)


def build(model: dict[str, Any] = PLAIN, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Every tensor random: none at zero or one, where many start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        result = architecture(model).create()
        with torch.no_grad():
            for parameter in result.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.05)
    return result.to(dtype).eval()


def batch(size: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn((size, 2, 8, 12), generator=draw, dtype=dtype)
    return images, torch.randint(5, (size,), generator=draw)


def random_lists(model: dict[str, Any], seed: int, empty: str | None = None) -> Lists:
    """Some units of each group, and none of the group `empty`."""
    draw = random.Random(seed)
    units = {group.name: group.count for group in architecture(model).structure.groups}
    return {
        name: [] if name == empty else sorted(draw.sample(range(count), draw.randint(1, count)))
        for name, count in units.items()
    }


def keep_set(lists: Lists) -> KeepSet:
    return KeepSet.from_lists(lists)


def placed(model: dict[str, Any], lists: Lists) -> Iterator[tuple[str, int, list[int]]]:
    """(tensor, dimension, indices in the dense tensor) of everything that these units own."""
    inner = 2 * model["embed_dim"]
    for name, units in lists.items():
        if name.endswith("mixer"):
            yield f"{name}.in_proj.weight", 0, [*units, *(inner + unit for unit in units)]
            rows = ("conv1d.weight", "conv1d.bias", "dt_proj.weight", "dt_proj.bias", "A_log", "D",
                    "conv1d_b.weight", "conv1d_b.bias", "dt_proj_b.weight", "dt_proj_b.bias", "A_b_log", "D_b")  # fmt: skip
            yield from ((f"{name}.{row}", 0, list(units)) for row in rows)
            yield from ((f"{name}.{column}.weight", 1, list(units)) for column in ("x_proj", "x_proj_b", "out_proj"))
        else:
            yield from ((f"{name}.fc1.{row}", 0, list(units)) for row in ("weight", "bias"))
            yield f"{name}.fc2.weight", 1, list(units)


@torch.no_grad()
def hold_at_zero(net: nn.Module, model: dict[str, Any], keep: Lists) -> None:
    """Every tensor of every unit that is not kept is zero."""
    everything = {group.name: range(group.count) for group in architecture(model).structure.groups}
    others = {name: sorted(set(units) - set(keep[name])) for name, units in everything.items()}
    for name, dim, index in placed(model, others):
        net.get_parameter(name).index_fill_(dim, torch.tensor(index, dtype=torch.long), 0)


def cut(tensors: dict[str, Tensor], model: dict[str, Any], keep: Lists) -> dict[str, Tensor]:
    """Dense tensors, cut down to these units."""
    result = dict(tensors)
    for name, dim, index in placed(model, keep):
        result[name] = result[name].index_select(dim, torch.tensor(index, dtype=torch.long))
    return result
