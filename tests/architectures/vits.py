"""Small ViTs and their units, spelt out index by index: what the numerical tests compare the package with.

Nothing here uses the package's own slicing, so that a mistake there cannot hide.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from prune.architectures.shape import ViTShape
from prune.pruning.units import KeepSet

SMALL = ViTShape((32, 32), 4, channels=3, classes=10, embed_dim=384, depth=12, num_heads=6, mlp_hidden=1536)
MICRO = ViTShape((8, 8), 4, channels=1, classes=10, embed_dim=48, depth=3, num_heads=8, mlp_hidden=192)
TINY = ViTShape((8, 12), 4, channels=2, classes=5, embed_dim=12, depth=3, num_heads=3, mlp_hidden=7, class_token=False)

Units = list[list[int]]


def build(shape: ViTShape, seed: int = 0, dtype: torch.dtype = torch.float32) -> VisionTransformer:
    """A dense timm ViT whose every tensor, biases included, is random (timm starts biases at zero)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionTransformer(
            img_size=shape.image_size,
            patch_size=shape.patch_size,
            in_chans=shape.channels,
            num_classes=shape.classes,
            embed_dim=shape.embed_dim,
            depth=shape.depth,
            num_heads=shape.num_heads,
            mlp_ratio=shape.mlp_hidden / shape.embed_dim,
            class_token=shape.class_token,
            global_pool="token" if shape.class_token else "avg",
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.05)
    return model.to(dtype).eval()


def batch(shape: ViTShape, size: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn((size, shape.channels, *shape.image_size), generator=draw, dtype=dtype)
    return images, torch.randint(shape.classes, (size,), generator=draw)


def random_units(shape: ViTShape, seed: int) -> tuple[Units, Units]:
    """Heads and neurons to keep: between one and all of each block."""
    draw = random.Random(seed)

    def some(total: int) -> list[int]:
        return sorted(draw.sample(range(total), draw.randint(1, total)))

    return [some(shape.num_heads) for _ in range(shape.depth)], [some(shape.mlp_hidden) for _ in range(shape.depth)]


def keep_set(units: tuple[Units, Units]) -> KeepSet:
    return KeepSet.from_lists(*units)


def head_rows(shape: ViTShape, heads: Sequence[int]) -> list[int]:
    """Rows of a dense qkv that make these heads: q, then k, then v, each head's d_head rows together."""
    width = shape.embed_dim // shape.num_heads
    return [part * shape.embed_dim + head * width + lane for part in range(3) for head in heads for lane in range(width)]


def head_columns(shape: ViTShape, heads: Sequence[int]) -> list[int]:
    """Columns of a dense attn.proj that read these heads."""
    width = shape.embed_dim // shape.num_heads
    return [head * width + lane for head in heads for lane in range(width)]


def placed(shape: ViTShape, units: tuple[Units, Units]) -> Iterator[tuple[str, int, list[int]]]:
    """(tensor name, dimension, indices in the dense tensor) of every tensor that holds these units."""
    for number, (heads, neurons) in enumerate(zip(*units, strict=True)):
        block = f"blocks.{number}"
        yield f"{block}.attn.qkv.weight", 0, head_rows(shape, heads)
        yield f"{block}.attn.qkv.bias", 0, head_rows(shape, heads)
        yield f"{block}.attn.proj.weight", 1, head_columns(shape, heads)
        yield f"{block}.mlp.fc1.weight", 0, list(neurons)
        yield f"{block}.mlp.fc1.bias", 0, list(neurons)
        yield f"{block}.mlp.fc2.weight", 1, list(neurons)


def others(shape: ViTShape, units: tuple[Units, Units]) -> tuple[Units, Units]:
    """The units that are not among these."""
    heads, neurons = units
    return (
        [[h for h in range(shape.num_heads) if h not in block] for block in heads],
        [[n for n in range(shape.mlp_hidden) if n not in set(block)] for block in neurons],
    )


def cut(tensors: dict[str, Tensor], shape: ViTShape, units: tuple[Units, Units]) -> dict[str, Tensor]:
    """Dense tensors cut down to these units."""
    result = dict(tensors)
    for name, dim, index in placed(shape, units):
        if name in result:
            full = result[name]
            result[name] = full[index] if dim == 0 else full[:, index]
    return result


@torch.no_grad()
def hold_at_zero(model: VisionTransformer, shape: ViTShape, keep: tuple[Units, Units]) -> None:
    """Make a dense model the masked one: every tensor of every unit not kept is zero."""
    parameters = dict(model.named_parameters())
    for name, dim, index in placed(shape, others(shape, keep)):
        if dim == 0:
            parameters[name][index] = 0
        else:
            parameters[name][:, index] = 0


def masked(model: VisionTransformer, shape: ViTShape, keep: tuple[Units, Units]) -> VisionTransformer:
    """A full-size copy whose pruned units are zero."""
    result = copy.deepcopy(model)
    hold_at_zero(result, shape, keep)
    return result
