"""The optimiser of a state: made afresh, saved by parameter name, and sliced when units are removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prune.architectures.group import Structure
from prune.config.optim import OptimConfig
from prune.pruning.keepset import KeepSet
from prune.pruning.slices import slice_tensors

State = dict[str, dict[str, Any]]
"""Parameter name → the optimiser's tensors for it."""


def make_optimizer(config: OptimConfig, model: nn.Module) -> torch.optim.Optimizer:
    """A fresh SGD or AdamW over all of the model's parameters."""
    parameters = list(model.named_parameters())
    if config.decay == "matrices":
        # Weights of linear and convolutional layers; not biases, norms, or the (1, n, dim) embeddings. A model names by
        # `no_weight_decay()`, as timm's do, what has such a shape and is none.
        names: Callable[[], Iterable[str]] = getattr(model, "no_weight_decay", tuple)
        spared = set(names())
        matrices = [p for name, p in parameters if p.dim() in (2, 4) and name not in spared]
        others = [p for name, p in parameters if p.dim() not in (2, 4) or name in spared]
    else:
        matrices, others = [p for _, p in parameters], []
    groups = [{"params": matrices, "weight_decay": config.weight_decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    # Fused: one kernel over all parameters instead of several per parameter.
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def state_by_name(optimizer: torch.optim.Optimizer, model: nn.Module) -> State:
    """The optimiser's state under the parameters' names; empty before the first step."""
    return {
        name: dict(optimizer.state[parameter]) for name, parameter in model.named_parameters() if parameter in optimizer.state
    }


def load_state_by_name(optimizer: torch.optim.Optimizer, model: nn.Module, state: Mapping[str, Mapping[str, Any]]) -> None:
    """Put `state_by_name`'s result into a fresh optimiser of a model with the same names."""
    for name, parameter in model.named_parameters():
        if name in state:
            optimizer.state[parameter] = {
                key: value.to(parameter.device) if isinstance(value, Tensor) else value for key, value in state[name].items()
            }


def slice_state(state: State, structure: Structure, alive: KeepSet, keep: KeepSet) -> State:
    """The state of a model of `alive`, cut down to `keep`: momenta of kept weights go on, step counts stay."""
    keys = {key for entry in state.values() for key in entry}
    result: State = {name: dict(entry) for name, entry in state.items()}
    for key in keys:
        shaped = {
            name: entry[key] for name, entry in state.items() if isinstance(entry.get(key), Tensor) and entry[key].dim() > 0
        }
        for name, value in slice_tensors(shaped, structure, alive, keep).items():
            result[name][key] = value
    return result
