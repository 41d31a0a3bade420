"""The L2 penalty on marked units: one fused multiply-add per tensor that holds units, nothing else."""

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
        self.entries: list[tuple[nn.Parameter, Tensor]] = []
        for units in unit_slices(structure, alive, alive.without(keep)):
            if not len(units.index):
                continue
            weight, dim = model.get_parameter(units.member.tensor), units.member.dim
            size = [1] * weight.dim()
            size[dim] = weight.shape[dim]
            mask = torch.zeros(size[dim], device=weight.device).index_fill(0, units.index.to(weight.device), 1.0)
            self.entries.append((weight, mask.view(size)))

    @torch.no_grad()
    def apply(self, strength: float, lr: float) -> None:
        """One step's penalty of λ = `strength`, after gradient clipping and before the optimiser's step."""
        for weight, mask in self.entries:
            if self.decoupled:
                weight.mul_(1 - lr * strength * mask)
            elif weight.grad is not None:
                weight.grad.addcmul_(weight, mask, value=strength)

    @torch.no_grad()
    def norm(self) -> float:
        """L2 norm of all the marked units' tensors together."""
        squares = [(weight * mask).double().square().sum() for weight, mask in self.entries]
        return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
