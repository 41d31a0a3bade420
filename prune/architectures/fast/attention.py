"""Attention whose queries, keys and values are taken apart in the order in which the qkv layer wrote them."""

from __future__ import annotations

from timm.layers import Attention
from torch import Tensor, nn
from torch.nn import functional as F


class PackedAttention(Attention):
    """timm's attention without its copies of the gradients of q, k and v; its parameters are what they were.

    timm moves q, k and v to the front before it separates them: the backward pass puts the three gradients together in that
    order, then copies them into the order of the qkv layer's output. Separated where they lie, they are put together once.
    The attention kernel is given the same views of the same numbers, so all results are the same bits.
    """

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        dropout = self.attn_drop.p if self.training else 0.0
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, dropout_p=dropout, is_causal=is_causal)
        return self.proj_drop(self.proj(heads.transpose(1, 2).reshape(batch, tokens, self.attn_dim)))


def can_be_packed(attention: Attention) -> bool:
    """Whether the attention does nothing more than this class (normalised queries, gates), and timm is to fuse it.

    Without heads it is not: the plain formula accepts none on every device, fused kernels need not.
    """
    norms = (attention.q_norm, attention.k_norm, attention.norm)
    return attention.fused_attn and attention.gate is None and all(type(norm) is nn.Identity for norm in norms)
