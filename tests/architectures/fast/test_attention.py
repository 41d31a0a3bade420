"""Attention taken apart in another order: the same bits, and no gradient copied into place."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from timm.layers import Attention
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from prune.architectures.fast.attention import PackedAttention, can_be_packed
from tests.architectures.fast.twins import results, twin

WIDTH = 48


def pair(**options: Any) -> tuple[Attention, PackedAttention]:
    """The same weights in timm's attention and in the packed one, in training mode."""
    torch.manual_seed(0)
    plain = Attention(WIDTH, 3, qkv_bias=True, **options).train()
    return plain, twin(plain, PackedAttention)


class Operations(TorchDispatchMode):
    """Counts the operators that are called, in the backward pass as well."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("inputs", [{}, {"is_causal": True}, {"attn_mask": torch.ones(17, 17).tril().bool()}])
@pytest.mark.parametrize("options", [{}, {"attn_drop": 0.2, "proj_drop": 0.3}, {"attn_head_dim": 8}])
def test_outputs_and_gradients_are_the_same_bits(options: dict[str, Any], inputs: dict[str, Any], training: bool) -> None:
    expected, found = (results(module.train(training), WIDTH, **inputs) for module in pair(**options))
    assert len(expected) == len(found) == 6
    assert all(torch.equal(left, right) for left, right in zip(expected, found, strict=True))


def test_no_gradient_is_copied_into_place() -> None:
    def copies(module: nn.Module) -> int:
        with Operations() as operations:
            results(module, WIDTH)
        return operations.counts["clone"] + operations.counts["copy_"]

    plain, packed = pair()
    assert copies(packed) == copies(plain) - 1


def test_only_bare_attention_can_be_packed() -> None:
    def packed(**options: Any) -> bool:
        return can_be_packed(Attention(WIDTH, 3, **options))

    assert packed() and packed(attn_drop=0.2)
    assert not packed(qk_norm=True, norm_layer=nn.LayerNorm)
    assert not packed(scale_norm=True, norm_layer=nn.LayerNorm)
    unfused = Attention(WIDTH, 3)
    unfused.fused_attn = False
    assert not can_be_packed(unfused)
