"""The L2 penalty on marked units: a few kernels for all tensors that hold units together, nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune.architectures.group import Structure
from prune.pruning.keepset import KeepSet
from prune.pruning.slices import unit_slices


class UnitPenalty:
    """Penalises the units of `alive` that are not in `keep`, on all of their tensors, biases included.

    Args:
        decoupled: False (SGD): grad += λ·w. True (AdamW): w ← w·(1 - lr·λ), since an adaptive optimiser would undo a
            gradient term.
    """

    def __init__(self, model: nn.Module, structure: Structure, alive: KeepSet, keep: KeepSet, decoupled: bool):
        self.decoupled = decoupled
        self.weights: list[Tensor] = []
        self.masks: list[Tensor] = []
        for units in unit_slices(structure, alive, alive.without(keep)):
            if len(units.index):
                weight = model.get_parameter(units.member.tensor)
                self.weights.append(weight)
                self.masks.append(_mask(weight, units.member.dim, units.index))

    @torch.no_grad()
    def apply(self, strength: float, lr: float) -> None:
        """One step's penalty of λ = `strength`, after gradient clipping and before the optimiser's step."""
        if not self.weights:
            return
        if self.decoupled:
            factors = torch._foreach_mul(self.masks, -lr * strength)
            torch._foreach_add_(factors, 1)
            torch._foreach_mul_(self.weights, list(factors))
            return
        pairs = zip(self.weights, self.masks, strict=True)
        trained = [(weight.grad, weight, mask) for weight, mask in pairs if weight.grad is not None]
        if trained:
            gradients, weights, masks = map(list, zip(*trained, strict=True))
            torch._foreach_addcmul_(gradients, weights, masks, value=strength)

    @torch.no_grad()
    def norm(self) -> float:
        """L2 norm of all the marked units' tensors together."""
        squares = [(weight * mask).double().square().sum() for weight, mask in zip(self.weights, self.masks, strict=True)]
        return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def _mask(weight: Tensor, dim: int, index: Tensor) -> Tensor:
    """1 at the given entries along `dim`, else 0. On the CPU a number for each entry; on a GPU of the weight's own size, since
    only tensors of equal sizes share a kernel there, and 72 of them each step would be launched one by one."""
    size = [1] * weight.dim()
    size[dim] = weight.shape[dim]
    mask = torch.zeros(size[dim], device=weight.device).index_fill(0, index.to(weight.device), 1.0).view(size)
    return mask if weight.device.type == "cpu" else mask.expand_as(weight).contiguous()
