"""Small Swins and their units, spelt out index by index: what the numerical tests compare the package with.

Nothing here uses the package's own slicing. Units are silenced from outside, by hooks on timm's own model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from prune.architectures.swin import Swin, SwinOptions

Units = dict[str, list[int]]
"""Group → the units of it."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a Swin. `image_size` is (height, width) in pixels; widths double from stage to stage."""

    image_size: tuple[int, int]
    patch_size: int
    window_size: int
    channels: int
    classes: int
    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    mlp_ratio: float

    @property
    def architecture(self) -> Swin:
        sizes = {
            key: getattr(self, key) for key in ("patch_size", "window_size", "embed_dim", "depths", "num_heads", "mlp_ratio")
        }
        return Swin(SwinOptions(family="swin", name="custom", **sizes), self.image_size, self.channels, self.classes)

    @property
    def blocks(self) -> Iterator[tuple[str, int, int, int]]:
        """(name, width of a token, heads, neurons) of each block."""
        for stage, (depth, heads) in enumerate(zip(self.depths, self.num_heads, strict=True)):
            dim = self.embed_dim * 2**stage
            for block in range(depth):
                yield f"layers.{stage}.blocks.{block}", dim, heads, int(dim * self.mlp_ratio)

    @property
    def dense(self) -> Units:
        units: Units = {}
        for name, _, heads, neurons in self.blocks:
            units |= {f"{name}.attn": list(range(heads)), f"{name}.mlp": list(range(neurons))}
        return units


SHIFTED = Shape((8, 8), 1, 4, channels=1, classes=5, embed_dim=12, depths=(2, 2), num_heads=(3, 6), mlp_ratio=1.5)
"""Windows that are shifted in the first stage, and fill the second."""
PADDED = Shape((18, 28), 2, 3, channels=2, classes=3, embed_dim=8, depths=(2, 2, 1), num_heads=(2, 4, 4), mlp_ratio=2.0)
"""9 × 14, 5 × 7 and 3 × 4 tokens in windows of 3 × 3: padded by attention, and where patches merge."""
SMALL_MAPS = Shape((8, 4), 2, 4, channels=3, classes=4, embed_dim=8, depths=(1, 2, 1), num_heads=(1, 2, 4), mlp_ratio=2.0)
"""4 × 2, 2 × 1 and 1 × 1 tokens: smaller than a window of 4 × 4."""


def build(shape: Shape, dtype: torch.dtype = torch.float32) -> SwinTransformer:
    """A dense timm Swin whose every tensor, biases included, is random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SwinTransformer(
            img_size=shape.image_size,
            patch_size=shape.patch_size,
            window_size=shape.window_size,
            in_chans=shape.channels,
            num_classes=shape.classes,
            embed_dim=shape.embed_dim,
            depths=shape.depths,
            num_heads=shape.num_heads,
            mlp_ratio=shape.mlp_ratio,
            drop_path_rate=0.0,
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    return model.to(dtype).eval()


def batch(shape: Shape, size: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn((size, shape.channels, *shape.image_size), generator=draw, dtype=dtype)
    return images, torch.randint(shape.classes, (size,), generator=draw)


def random_units(shape: Shape, seed: int, empty: bool = True) -> Units:
    """Of each group some units; of about every third none, if `empty`."""
    draw = random.Random(seed)
    return {
        name: [] if empty and draw.random() < 0.3 else sorted(draw.sample(units, draw.randint(1, len(units))))
        for name, units in shape.dense.items()
    }


def placed(shape: Shape, units: Units) -> Iterator[tuple[str, int, list[int]]]:
    """(tensor name, dimension, indices in the dense tensor) of every tensor that holds these units."""
    for name, dim, heads, _ in shape.blocks:
        width = dim // heads
        columns = [head * width + lane for head in units[f"{name}.attn"] for lane in range(width)]
        rows = [part * dim + column for part in range(3) for column in columns]
        neurons = units[f"{name}.mlp"]
        yield f"{name}.attn.qkv.weight", 0, rows
        yield f"{name}.attn.qkv.bias", 0, rows
        yield f"{name}.attn.relative_position_bias_table", 1, units[f"{name}.attn"]
        yield f"{name}.attn.proj.weight", 1, columns
        yield f"{name}.mlp.fc1.weight", 0, neurons
        yield f"{name}.mlp.fc1.bias", 0, neurons
        yield f"{name}.mlp.fc2.weight", 1, neurons


def cut(tensors: dict[str, Tensor], shape: Shape, units: Units) -> dict[str, Tensor]:
    """Dense tensors cut down to these units."""
    result = dict(tensors)
    for name, dim, index in placed(shape, units):
        result[name] = result[name][index] if dim == 0 else result[name][:, index]
    return result


def silence(model: SwinTransformer, shape: Shape, units: Units) -> None:
    """From now on `proj` and `fc2` of timm's own model read zero from all other units."""
    for name, dim, index in placed(shape, units):
        if dim == 1 and name.endswith((".proj.weight", ".fc2.weight")):
            reader = model.get_submodule(name.removesuffix(".weight"))
            assert isinstance(reader, nn.Linear)
            kept = torch.zeros(reader.in_features, dtype=reader.weight.dtype)
            kept[index] = 1
            reader.register_forward_pre_hook(lambda _, inputs, kept=kept: (inputs[0] * kept,))
