"""How the heads of timm's VisionTransformer attend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from prune.architectures.attention import AttentionView


@dataclass(frozen=True)
class ViTAttention(AttentionView):
    """Every token attends to every token. `grid` is the patches' (height, width)."""

    grid: tuple[int, int]

    @classmethod
    def of(cls, grid: tuple[int, int], patch_size: int, prefix: int, shown: int | None) -> ViTAttention:
        """`prefix`: tokens before the patches; `shown`: as in `AttentionView`."""
        patches = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
        places = [((row + 0.5) * patch_size, (column + 0.5) * patch_size) for row, column in patches]
        return cls((*(None,) * prefix, *places), shown, True, grid)

    def weights(self, module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor:
        attention: Any = module
        tokens: Tensor = given[0]
        sizes = (*tokens.shape[:2], 3, attention.num_heads, attention.head_dim)
        q, k, _ = attention.qkv(tokens).reshape(sizes).permute(2, 0, 3, 1, 4)
        products: Tensor = (attention.q_norm(q) * attention.scale) @ attention.k_norm(k).transpose(-2, -1)
        return products.softmax(-1)

    def picture(self, values: Tensor) -> Tensor:
        return values[..., -self.grid[0] * self.grid[1] :].unflatten(-1, self.grid)
