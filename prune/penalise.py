"""The L2 penalty on marked units: one fused multiply-add per tensor that holds units, nothing else."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from prune.units import KeepSet, unit_slices, without


class UnitPenalty:
    """Penalises the units of `alive` that are not in `keep`, on all of their tensors, biases included.

    Args:
        decoupled: False (SGD): grad += λ·w. True (AdamW): w ← w·(1 - lr·λ), since an adaptive optimiser would undo a
            gradient term.
    """

    def __init__(self, model: VisionTransformer, alive: KeepSet, keep: KeepSet, decoupled: bool):
        self.decoupled = decoupled
        self.entries: list[tuple[nn.Parameter, Tensor]] = []
        head_dim = model.blocks[0].attn.head_dim
        parameters = dict(model.named_parameters())
        for name, units in unit_slices(alive, without(alive, keep), head_dim):
            weight = parameters[name]
            size = [1] * weight.dim()
            size[units.dim] = weight.shape[units.dim]
            mask = torch.zeros(weight.shape[units.dim], device=weight.device).index_fill(0, units.index.to(weight.device), 1.0)
            if len(units.index):
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
