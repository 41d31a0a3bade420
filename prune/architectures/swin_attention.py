"""How the heads of timm's Swin Transformers attend: within windows, which every second block shifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prune.architectures.attention import AttentionView
from prune.architectures.swin_modules import HeadlessWindowAttention


@dataclass(frozen=True)
class SwinAttention(AttentionView):
    """A token attends to those of its window. `grid`, `window` and `shift` are (height, width), in tokens."""

    grid: tuple[int, int]
    window: tuple[int, int]
    shift: tuple[int, int]

    @classmethod
    def of(cls, block: Any, grid: tuple[int, int], stride: int) -> SwinAttention:
        """`stride`: pixels along one side of what a token stands for in this block."""
        height, width = block.window_size
        places = tuple(((row + 0.5) * stride, (column + 0.5) * stride) for row in range(height) for column in range(width))
        return cls(places, None, False, grid, (height, width), tuple(block.shift_size))

    def weights(self, module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor:
        attention: Any = module
        tokens: Tensor = given[0]
        windows, count, _ = tokens.shape
        if isinstance(module, HeadlessWindowAttention):
            return tokens.new_zeros((windows, 0, count, count))
        q, k, _ = attention.qkv(tokens).reshape(windows, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        products: Tensor = (q * attention.scale) @ k.transpose(-2, -1) + attention._get_rel_pos_bias()
        mask = keywords.get("mask", given[1] if len(given) > 1 else None)
        if mask is not None:  # tokens that only the shift brought together
            products = (products.unflatten(0, (-1, len(mask))) + mask[None, :, None]).flatten(0, 1)
        return products.softmax(-1)

    def picture(self, values: Tensor) -> Tensor:
        (rows, columns), (height, width) = self.grid, self.window
        down, across = -(-rows // height), -(-columns // width)
        # (images, windows down, windows across, heads, height, width) → the map, padded and shifted as attention sees it.
        tiles = values.unflatten(-1, self.window).unflatten(0, (-1, down, across))
        padded = tiles.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
        return torch.roll(padded[..., :rows, :columns], self.shift, dims=(-2, -1))
