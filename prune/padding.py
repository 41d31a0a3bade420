"""Widths that CPU matrix products like: a pruned MLP computes at the next multiple of 16 neurons, the extra ones zero."""

from __future__ import annotations

from timm.layers import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

MULTIPLE = 16
"""float32 numbers in a cache line: rows of such a width all begin at one."""

WORTHWHILE = 2**16
"""Weights of a layer from which on its matrix products take long enough for padding to pay."""


class PaddedMlp(Mlp):
    """timm's MLP with zero neurons added while it is computed in training; its parameters are what they were.

    Zero neurons give gelu(0) = 0, read by zero columns: outputs and gradients are the same sums. Only training steps are
    padded, so a hook on fc2 in evaluation still sees exactly the neurons there are.
    """

    def forward(self, x: Tensor) -> Tensor:
        extra = -self.fc1.out_features % MULTIPLE
        if not self.training or extra == 0 or self.fc1.weight.numel() < WORTHWHILE:
            return super().forward(x)
        x = F.linear(x, F.pad(self.fc1.weight, (0, 0, 0, extra)), F.pad(self.fc1.bias, (0, extra)))
        x = self.drop1(self.act(x))
        x = F.linear(x, F.pad(self.fc2.weight, (0, extra)), self.fc2.bias)
        return self.drop2(x)


def pad_widths(model: VisionTransformer) -> None:
    """Have the model's MLPs compute at padded widths. In place; tensors, their names and their values stay."""
    for block in model.blocks:
        if type(block.mlp) is Mlp:
            block.mlp.__class__ = PaddedMlp
