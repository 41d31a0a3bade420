"""What timm's Swin Transformers are made of, and attention that has lost all its heads."""

from __future__ import annotations

from timm.layers import ClassifierHead, DropPath, Mlp, PatchEmbed, SelectAdaptivePool2d
from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool
from timm.models.swin_transformer import (
    PatchMerging,
    SwinTransformer,
    SwinTransformerBlock,
    SwinTransformerStage,
    WindowAttention,
)
from torch import Tensor, nn


class HeadlessWindowAttention(WindowAttention):
    """timm's attention without heads, which its own formula cannot reshape: it gives its output bias at every token.

    Names and shapes of its tensors are what slicing left, so it loads and saves as before.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: [windows, tokens, dim] → the same shape."""
        return self.proj_drop(self.proj(x[..., :0]))


KNOWN = {
    *(SwinTransformer, SwinTransformerStage, SwinTransformerBlock, PatchMerging, WindowAttention, HeadlessWindowAttention),
    *(PatchEmbed, ClassifierHead, SelectAdaptivePool2d, FastAdaptiveAvgPool, Mlp, DropPath),
    *(nn.Conv2d, nn.Linear, nn.LayerNorm, nn.GELU, nn.Softmax, nn.Dropout, nn.Identity, nn.Flatten, nn.Sequential),
}  # fmt: skip


def unknown_modules(model: nn.Module) -> list[str]:
    """Names and classes of the modules that no closed form of `Swin` counts."""
    return [f"{name} ({type(module).__name__})" for name, module in model.named_modules() if type(module) not in KNOWN]
