"""The same weights in a timm module and in one of ours that computes them otherwise, and what a step through each gives."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def twin(plain: nn.Module, kind: type[Module]) -> Module:
    """A copy of `plain` as a `kind`, a subclass of its class."""
    ours = copy.deepcopy(plain)
    ours.__class__ = kind
    assert isinstance(ours, kind)
    return ours


def results(module: nn.Module, width: int, precision: torch.dtype = torch.float32, **inputs: Any) -> list[Tensor]:
    """Output, gradient of the input, gradients of the parameters; dropout and the like draw from the same seed."""
    torch.manual_seed(1)
    tokens = torch.randn(4, 17, width, requires_grad=True)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        output = module(tokens, **inputs)
    output.square().sum().backward()
    return [output.detach(), *(t.grad for t in (tokens, *module.parameters()) if t.grad is not None)]
