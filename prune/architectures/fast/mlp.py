"""The MLP as a CPU trains it best: at a width that matrix products like, its backward pass writing over its activations."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Mlp
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

MULTIPLE = 16
"""float32 numbers in a cache line: rows of such a width all begin at one."""

WORTHWHILE = 2**16
"""Weights of a layer from which on its matrix products take long enough for padding to pay."""


class CpuMlp(Mlp):
    """timm's MLP, computed in training as a CPU likes it; its parameters are what they were.

    Zero neurons fill the width up to a multiple of 16. They give gelu(0) = 0, read by zero columns: outputs and gradients are
    the same sums. Where nothing but GELU stands between the two layers, `OverwritingMlp` computes them. In evaluation this is
    timm's MLP, so a hook on fc2 still sees exactly the neurons there are.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        fc1, bias1, fc2 = self.fc1.weight, self.fc1.bias, self.fc2.weight
        extra = -self.fc1.out_features % MULTIPLE
        if extra and fc1.numel() >= WORTHWHILE:
            fc1, bias1, fc2 = F.pad(fc1, (0, 0, 0, extra)), F.pad(bias1, (0, extra)), F.pad(fc2, (0, extra))
        if self._only_gelu() and not torch.is_autocast_enabled("cpu"):
            output = OverwritingMlp.apply(x.flatten(0, -2), fc1, bias1, fc2, self.fc2.bias)
            return self.drop2(output.view(*x.shape[:-1], output.shape[1]))
        return self.drop2(F.linear(self.drop1(self.act(F.linear(x, fc1, bias1))), fc2, self.fc2.bias))

    def _only_gelu(self) -> bool:
        """Whether exact GELU alone joins the layers, and they run as written (torch.compile plans its memory itself)."""
        exact = type(self.act) is nn.GELU and self.act.approximate == "none"
        return exact and self.drop1.p == 0 and not torch.compiler.is_compiling()


class OverwritingMlp(torch.autograd.Function):
    """fc2(gelu(fc1(x))) whose backward pass writes over the activations that it has just read for the last time.

    Autograd would make two new tensors of the hidden width per block, for which the heap has no room once gradients of weights
    have settled where activations were. The kernels are those that autograd calls, so all results are the same bits.
    A second backward pass through the same graph raises torch's RuntimeError about tensors changed in place.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, fc1: Tensor, bias1: Tensor, fc2: Tensor, bias2: Tensor) -> Tensor:
        """x: [tokens, in]; fc1: [hidden, in]; bias1: [hidden]; fc2: [out, hidden]; bias2: [out]. Returns [tokens, out]."""
        before = F.linear(x, fc1, bias1)
        hidden = F.gelu(before)
        ctx.save_for_backward(x, before, hidden, fc1, fc2)
        return F.linear(hidden, fc2, bias2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_output: Tensor) -> tuple[Tensor, ...]:
        x, before, hidden, fc1, fc2 = ctx.saved_tensors
        of_fc2, of_bias2 = of_output.t().mm(hidden), of_output.sum(0)
        torch.mm(of_output, fc2, out=hidden)
        torch.ops.aten.gelu_backward.grad_input(hidden, before, grad_input=hidden)
        of_fc1, of_bias1 = hidden.t().mm(x), hidden.sum(0)
        return hidden.mm(fc1), of_fc1, of_bias1, of_fc2, of_bias2


def can_be_overwritten(mlp: Mlp) -> bool:
    """Whether nothing lies between the layers but an activation and dropout, and the layers are linear with biases."""
    layers = (mlp.fc1, mlp.fc2)
    return type(mlp.norm) is nn.Identity and all(type(layer) is nn.Linear and layer.bias is not None for layer in layers)
