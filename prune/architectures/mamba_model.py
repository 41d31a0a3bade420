"""Vision Mamba in plain torch, after Vim (Zhu et al., arXiv 2401.09417), with the names of Vim's published checkpoints."""

from __future__ import annotations

import math

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from prune.architectures.scan import selective_scan

DELTA_RANGE = 1e-3, 0.1
"""What softplus(bias of dt_proj) starts between."""


class PatchEmbed(nn.Module):
    def __init__(self, channels: int, dim: int, patch_size: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch_size, patch_size)
        _lecun_normal(self.proj)

    def forward(self, images: Tensor) -> Tensor:
        """(b, channels, height, width) → (b, patches, dim)."""
        tokens: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return tokens


class Mixer(nn.Module):
    """The bidirectional mixer: one projection in and out, a convolution and a selective scan in each direction.

    With x and z the halves of `in_proj`, and each direction's y its scan of x, plus D·x: out_proj((y₁ + y₂)/2 · silu(z)).
    """

    def __init__(self, dim: int, inner: int, d_state: int, d_conv: int, dt_rank: int):
        super().__init__()
        self.d_inner, self.d_state, self.dt_rank = inner, d_state, dt_rank
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d, self.conv1d_b = (nn.Conv1d(inner, inner, d_conv, groups=inner) for _ in range(2))
        self.x_proj, self.x_proj_b = (nn.Linear(inner, dt_rank + 2 * d_state, bias=False) for _ in range(2))
        self.dt_proj, self.dt_proj_b = (nn.Linear(dt_rank, inner) for _ in range(2))
        # Of A = -exp(A_log): each channel's states begin by forgetting at the rates 1..N.
        rates = torch.arange(1, d_state + 1, dtype=torch.float32).log().repeat(inner, 1)
        self.A_log, self.A_b_log = (nn.Parameter(rates.clone()) for _ in range(2))
        self.D, self.D_b = (nn.Parameter(torch.ones(inner)) for _ in range(2))
        self.out_proj = nn.Linear(inner, dim, bias=False)
        for projection in (self.dt_proj, self.dt_proj_b):
            nn.init.uniform_(projection.weight, -(dt_rank**-0.5), dt_rank**-0.5)
            low, high = (math.log(value) for value in DELTA_RANGE)
            delta = torch.empty(inner).uniform_(low, high).exp_().clamp_min_(1e-4)
            with torch.no_grad():
                projection.bias.copy_(delta + torch.log(-torch.expm1(-delta)))  # softplus of it is delta

    def forward(self, tokens: Tensor) -> Tensor:
        """(b, L, dim) → (b, L, dim)."""
        x, z = self.in_proj(tokens).chunk(2, dim=-1)
        result: Tensor
        if self.d_inner == 0:
            result = self.out_proj(z)  # nothing to sum: zeros
            return result
        forth = self._scanned(x, self.conv1d, self.x_proj, self.dt_proj)
        back = self._scanned(x.flip(1), self.conv1d_b, self.x_proj_b, self.dt_proj_b)
        x, delta, b, c = (torch.stack(pair) for pair in zip(forth, back, strict=True))
        rates = torch.stack((self.A_log, self.A_b_log)).to(x.dtype)
        skip = torch.stack((self.D, self.D_b)).to(x.dtype)
        y = selective_scan(x, delta, -rates.exp().transpose(1, 2), b, c) + skip[:, None, None] * x
        y = (y[0] + y[1].flip(1)) / 2
        result = self.out_proj(y.to(z.dtype) * F.silu(z))
        return result

    def _scanned(self, x: Tensor, conv: nn.Conv1d, x_proj: nn.Linear, dt_proj: nn.Linear) -> tuple[Tensor, ...]:
        """What one direction's scan is given: x, Δ, B, C, in at least float32, also under autocast."""
        padded = F.pad(x.transpose(1, 2), (conv.kernel_size[0] - 1, 0))  # a token sees itself and those before
        x = F.silu(conv(padded)).transpose(1, 2)
        delta, b, c = x_proj(x).split((self.dt_rank, self.d_state, self.d_state), dim=-1)
        dtype = torch.promote_types(x.dtype, torch.float32)
        delta, x, b, c = (tensor.to(dtype) for tensor in (dt_proj(delta), x, b, c))
        return x, F.softplus(delta), b, c


class Block(nn.Module):
    """A mixer, and an MLP if `mlp_hidden` is not 0, each on normalised tokens and added to them."""

    def __init__(self, dim: int, mixer: Mixer, norm: type[nn.Module], mlp_hidden: int, drop_path: float):
        super().__init__()
        self.norm, self.mixer = norm(dim, eps=1e-5), mixer
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = norm(dim, eps=1e-5) if mlp_hidden else None
        self.mlp = Mlp(dim, mlp_hidden) if mlp_hidden else None

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.mixer(self.norm(tokens)))
        if self.mlp is not None and self.norm2 is not None:
            tokens = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return tokens


class VisionMamba(nn.Module):
    """Images (b, channels, height, width) → logits (b, classes).

    With a class token, which stands in the middle of the patches, it is what the classifier reads; without, the mean of all.
    """

    def __init__(
        self,
        *,
        patches: int,
        patch_size: int,
        channels: int,
        classes: int,
        depth: int,
        embed_dim: int,
        inner: int,
        d_state: int,
        d_conv: int,
        dt_rank: int,
        norm: type[nn.Module],
        mlp_hidden: int,
        class_token: bool,
        drop_path_rate: float,
    ):
        super().__init__()
        self.patch_embed = PatchEmbed(channels, embed_dim, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if class_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + class_token, embed_dim))
        self.layers = nn.ModuleList(
            Block(
                embed_dim,
                Mixer(embed_dim, inner, d_state, d_conv, dt_rank),
                norm,
                mlp_hidden,
                drop_path_rate * block / max(depth - 1, 1),
            )
            for block in range(depth)
        )
        self.norm_f = norm(embed_dim, eps=1e-5)
        self.head = nn.Linear(embed_dim, classes) if classes else nn.Identity()
        for embedding in (self.cls_token, self.pos_embed):
            if embedding is not None:
                nn.init.trunc_normal_(embedding, std=0.02)
        if isinstance(self.head, nn.Linear):
            nn.init.trunc_normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)
        # Of every layer that adds to the residual stream, so that it does not grow with their number (GPT-2, section 2.3).
        added = [weight for name, weight in self.named_parameters() if name.endswith((".out_proj.weight", ".fc2.weight"))]
        with torch.no_grad():
            for weight in added:
                weight.div_(math.sqrt(len(added)))

    def no_weight_decay(self) -> set[str]:
        """Parameters that are no weights, whatever their shape: decay would pull every channel to the same rate and skip."""
        ends = ("A_log", "A_b_log", "D", "D_b", "pos_embed", "cls_token")
        return {name for name, _ in self.named_parameters() if name.rpartition(".")[2] in ends}

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch_embed(images)
        middle = tokens.shape[1] // 2
        if self.cls_token is not None:
            own = self.cls_token.expand(tokens.shape[0], -1, -1)  # len() would fix the batch size of an export
            tokens = torch.cat((tokens[:, :middle], own, tokens[:, middle:]), dim=1)
        tokens = tokens + self.pos_embed
        for block in self.layers:
            tokens = block(tokens)
        tokens = self.norm_f(tokens)
        logits: Tensor = self.head(tokens.mean(1) if self.cls_token is None else tokens[:, middle])
        return logits


def _lecun_normal(conv: nn.Conv2d) -> None:
    """Variance 1/inputs, cut off at two standard deviations (whose loss of variance 0.8796 makes up for)."""
    inputs = conv.weight[0].numel()
    std = inputs**-0.5 / 0.87962566103423978
    nn.init.trunc_normal_(conv.weight, std=std, a=-2 * std, b=2 * std)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
