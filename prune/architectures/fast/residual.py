"""Residual additions in place: each branch's output takes the stream in, so that no third tensor of its size is made."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import Tensor


class InPlaceBlock(Block):
    """timm's block whose training steps add in place; its parameters are what they were.

    x + branch(x) is the same number wherever it is written, and nothing needs the branch's output for its backward pass. The
    room that it would leave when it is freed is a little too small for the next tensor of its size (the allocator aligns
    each), so a step would hold two such holes per block. In evaluation nothing is overwritten: a hook may keep outputs.
    """

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        if not self.training or torch.compiler.is_compiling():  # the compiler plans memory itself
            return super().forward(x, attn_mask, is_causal)
        x = _add(self.drop_path1(self.ls1(self.attn(self.norm1(x), attn_mask=attn_mask, is_causal=is_causal))), x)
        return _add(self.drop_path2(self.ls2(self.mlp(self.norm2(x)))), x)


def _add(branch: Tensor, stream: Tensor) -> Tensor:
    """Their sum, in `branch`. Under autocast a bfloat16 branch must not round the float32 stream: a new tensor then.

    A linear layer's output is a view of a matrix. Autograd would copy the gradient three times for an addition to the view,
    and never for one to the matrix itself.
    """
    if branch.dtype != stream.dtype:
        return stream + branch
    matrix = branch._base
    if matrix is None or matrix.numel() != branch.numel() or not (matrix.is_contiguous() and branch.is_contiguous()):
        return branch.add_(stream)
    return matrix.add_(stream.reshape(matrix.shape)).view(branch.shape)
