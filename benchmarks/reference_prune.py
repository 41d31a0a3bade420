"""The reference loop's pruning: unit scores, global ranking, and masks by torch.nn.utils.prune."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from prune.pruning.budget import StateBudget

Marked = tuple[nn.Parameter, Tensor]
"""A parameter, and 1 where it belongs to a marked unit."""


@dataclass(frozen=True)
class Keep:
    """Per block, which heads and which neurons stay (boolean, full size)."""

    heads: list[Tensor]
    neurons: list[Tensor]


def choose(model: Any, alive: Keep | None, budget: StateBudget) -> Keep:
    """The units with the largest Σ|w| over all blocks; each block keeps its best one."""
    heads, neurons = [], []
    for block in model.blocks:
        attn = block.attn
        rows = attn.qkv.weight.detach().abs().sum(1)
        heads.append(rows.view(3, attn.num_heads, attn.head_dim).sum((0, 2)))
        neurons.append(block.mlp.fc1.weight.detach().abs().sum(1))
    return Keep(
        _best(heads, None if alive is None else alive.heads, budget.kept["heads"]),
        _best(neurons, None if alive is None else alive.neurons, budget.kept["neurons"]),
    )


def _best(scores: list[Tensor], alive: list[Tensor] | None, count: int) -> list[Tensor]:
    ranked = []
    for number, score in enumerate(scores):
        score = score.clone()
        if alive is not None:
            score[~alive[number]] = -1
        score[score.argmax()] = float("inf")
        ranked.append(score)
    flat = torch.cat(ranked)
    stay = torch.zeros(len(flat), dtype=torch.bool)
    stay[flat.topk(count).indices] = True
    return list(stay.split([len(score) for score in ranked]))


def _masks(model: Any, keep: Keep) -> list[tuple[nn.Module, str, Tensor]]:
    """Module, parameter name and mask of all that holds units."""
    result: list[tuple[nn.Module, str, Tensor]] = []
    for block, heads, neurons in zip(model.blocks, keep.heads, keep.neurons, strict=True):
        attn, mlp = block.attn, block.mlp
        lanes = heads.float().repeat_interleave(attn.head_dim)
        rows, hidden = lanes.repeat(3), neurons.float()
        result += [
            (attn.qkv, "weight", rows[:, None].expand(len(rows), attn.qkv.in_features)),
            (attn.qkv, "bias", rows),
            (attn.proj, "weight", lanes[None].expand(attn.proj.out_features, len(lanes))),
            (mlp.fc1, "weight", hidden[:, None].expand(len(hidden), mlp.fc1.in_features)),
            (mlp.fc1, "bias", hidden),
            (mlp.fc2, "weight", hidden[None].expand(mlp.fc2.out_features, len(hidden))),
        ]
    return result


def apply_masks(model: Any, keep: Keep | None) -> None:
    """Mask all that is not in `keep`."""
    assert keep is not None
    for module, name, mask in _masks(model, keep):
        if hasattr(module, f"{name}_orig"):
            prune.remove(module, name)
        prune.custom_from_mask(module, name, mask)


def marked_parameters(model: Any, alive: Keep | None, keep: Keep) -> list[Marked]:
    """For each parameter that holds units: where those are that are alive and not in `keep`."""
    result = []
    staying = _masks(model, keep)
    present = [torch.ones(())] * len(staying) if alive is None else [mask for _, _, mask in _masks(model, alive)]
    for (module, name, stays), lives in zip(staying, present, strict=True):
        parameter = getattr(module, f"{name}_orig", None)
        result.append((getattr(module, name) if parameter is None else parameter, (lives - stays).contiguous()))
    return result
