"""The fast paths of timm's Swin blocks."""

from __future__ import annotations

from timm.layers import Mlp
from torch import nn

from prune.architectures.fast.mlp import CpuMlp, can_be_overwritten


def fast_paths(model: nn.Module, device: str) -> list[tuple[nn.Module, type]]:
    """(module, class) for what is exactly a class of timm's that has a faster one, on this type of device."""
    if device != "cpu":
        return []
    return [(module, CpuMlp) for module in model.modules() if type(module) is Mlp and can_be_overwritten(module)]
