"""The fast paths of timm's blocks, attention and MLPs."""

from __future__ import annotations

from timm.layers import Attention, Mlp
from timm.models.vision_transformer import Block
from torch import nn

from prune.architectures.fast.attention import PackedAttention, can_be_packed
from prune.architectures.fast.mlp import CpuMlp, can_be_overwritten
from prune.architectures.fast.residual import InPlaceBlock


def fast_paths(model: nn.Module, device: str) -> list[tuple[nn.Module, type]]:
    """(module, class) for what is exactly a class of timm's that has a faster one, on this type of device."""
    pairs: list[tuple[nn.Module, type]] = []
    for module in model.modules():
        if type(module) is Block:
            pairs.append((module, InPlaceBlock))
        elif type(module) is Attention and can_be_packed(module):
            pairs.append((module, PackedAttention))
        elif type(module) is Mlp and device == "cpu" and can_be_overwritten(module):
            pairs.append((module, CpuMlp))
    return pairs
