"""Small ViTs of each variation that the family knows."""

from __future__ import annotations

import random
from typing import Any

import torch

from prune.architectures.base import make_architecture
from prune.architectures.vit import ViT
from prune.pruning.keepset import KeepSet

SIZES = {"family": "vit", "name": "custom", "patch_size": 4, "depth": 2, "embed_dim": 12, "num_heads": 3, "mlp_ratio": 2.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "distilled": {"distilled": True},
    "DeiT-III": {"no_embed_class": True, "init_values": 0.1},
    "registers": {"reg_tokens": 3, "no_embed_class": True, "class_token": False, "global_pool": "avg", "init_values": 0.1},
    "registers with positions": {"reg_tokens": 2, "global_pool": "avg", "fc_norm": False},
    "qk_norm": {"qk_norm": True},
    "no biases of queries": {"qkv_bias": False, "qk_norm": True, "class_token": False, "global_pool": "avg"},
    "swiglu": {"mlp_layer": "swiglu", "mlp_ratio": 1.5},
    "swiglu_packed": {"mlp_layer": "swiglu_packed", "pre_norm": True},
    "all at once": {
        "mlp_layer": "swiglu_packed", "qk_norm": True, "reg_tokens": 1, "init_values": 0.2, "pre_norm": True, "fc_norm": True,
    },
}  # fmt: skip


def architecture(variant: str, **keys: Any) -> ViT:
    made = make_architecture({**SIZES, **VARIANTS.get(variant, {}), **keys}, (8, 12), 2, 5)
    assert isinstance(made, ViT)
    return made


def randomised(family: ViT) -> Any:
    """Every tensor random, in float64: what must agree then agrees but for the last digits."""
    torch.manual_seed(0)
    model = family.create().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def random_kept(family: ViT, seed: int) -> KeepSet:
    """Some units of each group; with seed 0 no heads in block 0 and no neurons in block 1."""
    draw = random.Random(seed)
    kept = {
        group.name: sorted(draw.sample(range(group.count), draw.randint(1, group.count))) for group in family.structure.groups
    }
    return KeepSet.from_lists(kept | ({"blocks.0.attn": [], "blocks.1.mlp": []} if seed == 0 else {}))
