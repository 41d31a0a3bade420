"""Small ViTs and their units, spelt out index by index: what the numerical tests compare the package with.

Nothing here uses the package's own slicing, so that a mistake there cannot hide.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from prune.architectures.group import Structure
from prune.architectures.vit import ViT
from prune.architectures.vit_options import ViTOptions
from prune.pruning.keepset import KeepSet


@dataclass(frozen=True)
class Shape:
    """The sizes of a ViT. `image_size` is (height, width) in pixels; `mlp_hidden` is the neurons of one dense block."""

    image_size: tuple[int, int]
    patch_size: int
    channels: int
    classes: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_hidden: int
    class_token: bool = True

    @property
    def architecture(self) -> ViT:
        options = ViTOptions(
            family="vit",
            name="custom",
            patch_size=self.patch_size,
            depth=self.depth,
            embed_dim=self.embed_dim,
            num_heads=self.num_heads,
            mlp_ratio=self.mlp_hidden / self.embed_dim,
            class_token=self.class_token,
            global_pool="token" if self.class_token else "avg",
        )
        return ViT(options, self.image_size, self.channels, self.classes)

    @property
    def structure(self) -> Structure:
        return self.architecture.structure

    @property
    def dense(self) -> KeepSet:
        """Every unit alive."""
        return keep_set(([list(range(self.num_heads))] * self.depth, [list(range(self.mlp_hidden))] * self.depth))

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    @property
    def head_parameters(self) -> int:
        """q, k and v: three rows and three biases a lane; proj: a column a lane."""
        return 3 * self.head_dim * self.embed_dim + 3 * self.head_dim + self.embed_dim * self.head_dim

    @property
    def neuron_parameters(self) -> int:
        """A row of fc1, its bias, a column of fc2."""
        return self.embed_dim + 1 + self.embed_dim


SMALL = Shape((32, 32), 4, channels=3, classes=10, embed_dim=384, depth=12, num_heads=6, mlp_hidden=1536)
MICRO = Shape((8, 8), 4, channels=1, classes=10, embed_dim=48, depth=3, num_heads=8, mlp_hidden=192)
TINY = Shape((8, 12), 4, channels=2, classes=5, embed_dim=12, depth=3, num_heads=3, mlp_hidden=7, class_token=False)

Units = list[list[int]]
"""By block, the indices of its heads, or of its neurons."""


def build(shape: Shape, seed: int = 0, dtype: torch.dtype = torch.float32) -> VisionTransformer:
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


def batch(shape: Shape, size: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn((size, shape.channels, *shape.image_size), generator=draw, dtype=dtype)
    return images, torch.randint(shape.classes, (size,), generator=draw)


def random_units(shape: Shape, seed: int) -> tuple[Units, Units]:
    """Heads and neurons to keep: between one and all of each block."""
    draw = random.Random(seed)

    def some(total: int) -> list[int]:
        return sorted(draw.sample(range(total), draw.randint(1, total)))

    return [some(shape.num_heads) for _ in range(shape.depth)], [some(shape.mlp_hidden) for _ in range(shape.depth)]


def keep_set(units: tuple[Units, Units]) -> KeepSet:
    """(heads, neurons) by block, as a keep set."""
    lists: dict[str, list[int]] = {}
    for number, (heads, neurons) in enumerate(zip(*units, strict=True)):
        lists |= {f"blocks.{number}.attn": heads, f"blocks.{number}.mlp": neurons}
    return KeepSet.from_lists(lists)


def units_of(keep: KeepSet) -> tuple[Units, Units]:
    """A keep set as (heads, neurons) by block."""
    lists = keep.to_lists()
    blocks = range(len(lists) // 2)
    return [lists[f"blocks.{number}.attn"] for number in blocks], [lists[f"blocks.{number}.mlp"] for number in blocks]


def head_rows(shape: Shape, heads: Sequence[int]) -> list[int]:
    """Rows of a dense qkv that make these heads: q, then k, then v, each head's d_head rows together."""
    width = shape.head_dim
    return [part * shape.embed_dim + head * width + lane for part in range(3) for head in heads for lane in range(width)]


def head_columns(shape: Shape, heads: Sequence[int]) -> list[int]:
    """Columns of a dense attn.proj that read these heads."""
    width = shape.head_dim
    return [head * width + lane for head in heads for lane in range(width)]


def placed(shape: Shape, units: tuple[Units, Units]) -> Iterator[tuple[str, int, list[int]]]:
    """(tensor name, dimension, indices in the dense tensor) of every tensor that holds these units."""
    for number, (heads, neurons) in enumerate(zip(*units, strict=True)):
        block = f"blocks.{number}"
        yield f"{block}.attn.qkv.weight", 0, head_rows(shape, heads)
        yield f"{block}.attn.qkv.bias", 0, head_rows(shape, heads)
        yield f"{block}.attn.proj.weight", 1, head_columns(shape, heads)
        yield f"{block}.mlp.fc1.weight", 0, list(neurons)
        yield f"{block}.mlp.fc1.bias", 0, list(neurons)
        yield f"{block}.mlp.fc2.weight", 1, list(neurons)


def others(shape: Shape, units: tuple[Units, Units]) -> tuple[Units, Units]:
    """The units that are not among these."""
    heads, neurons = units
    return (
        [[h for h in range(shape.num_heads) if h not in block] for block in heads],
        [[n for n in range(shape.mlp_hidden) if n not in set(block)] for block in neurons],
    )


def cut(tensors: dict[str, Tensor], shape: Shape, units: tuple[Units, Units]) -> dict[str, Tensor]:
    """Dense tensors cut down to these units."""
    result = dict(tensors)
    for name, dim, index in placed(shape, units):
        if name in result:
            full = result[name]
            result[name] = full[index] if dim == 0 else full[:, index]
    return result


@torch.no_grad()
def hold_at_zero(model: VisionTransformer, shape: Shape, keep: tuple[Units, Units]) -> None:
    """Make a dense model the masked one: every tensor of every unit not kept is zero."""
    parameters = dict(model.named_parameters())
    for name, dim, index in placed(shape, others(shape, keep)):
        if dim == 0:
            parameters[name][index] = 0
        else:
            parameters[name][:, index] = 0


def masked(model: VisionTransformer, shape: Shape, keep: tuple[Units, Units]) -> VisionTransformer:
    """A full-size copy whose pruned units are zero."""
    result = copy.deepcopy(model)
    hold_at_zero(result, shape, keep)
    return result
