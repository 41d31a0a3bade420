"""Residual additions in place: each branch's output takes the stream in, so that no third tensor of its size is made."""

from __future__ import annotations

from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor


class InPlaceBlock(Block):
    """timm's block whose training steps add in place; its parameters are what they were.

    x + branch(x) is the same number wherever it is written, and nothing needs the branch's output for its backward pass. The
    room that it would leave when it is freed is a little too small for the next tensor of its size (the allocator aligns
    each), so a step would hold two such holes per block. In evaluation nothing is overwritten: a hook may keep outputs.
    """

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        if not self.training:
            return super().forward(x, attn_mask, is_causal)
        x = _add(self.drop_path1(self.ls1(self.attn(self.norm1(x), attn_mask=attn_mask, is_causal=is_causal))), x)
        return _add(self.drop_path2(self.ls2(self.mlp(self.norm2(x)))), x)


def _add(branch: Tensor, stream: Tensor) -> Tensor:
    """Their sum, in `branch`. Under autocast a bfloat16 branch must not round the float32 stream: a new tensor then."""
    return branch.add_(stream) if branch.dtype == stream.dtype else stream + branch


def add_in_place(model: VisionTransformer) -> None:
    """Have the model's blocks add in place. Their tensors, their names and their values stay."""
    for block in model.blocks:
        if type(block) is Block:
            block.__class__ = InPlaceBlock
