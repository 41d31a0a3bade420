"""Vision Transformers, timm's VisionTransformer with its usual variations (ViT, DeiT, DeiT-III, registers): heads and neurons.

A head owns the 3·d_head rows of `attn.qkv` (q, k and v; weight and bias) that make it and the d_head columns of `attn.proj`
that read it. A neuron owns a row of `mlp.fc1` (weight and bias; in a gated MLP a second one, its gate's) and a column of
`mlp.fc2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prune.architectures.base import Architecture, check_patches
from prune.architectures.group import Group, Member, Structure
from prune.architectures.timm_family import for_channels
from prune.architectures.vit_options import MLP_LAYERS, ViTOptions
from prune.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prune.architectures.attention import AttentionView


class ViT(Architecture):
    Options = ViTOptions
    options: ViTOptions

    classifier = ("head.", "head_dist.")

    def check(self) -> None:
        options = self.options
        options.check_pretrained()
        check_patches(self.image_size, options.patch_size)
        if options.embed_dim % options.num_heads:
            raise UserError(f"model.embed_dim={options.embed_dim} is not divisible by model.num_heads={options.num_heads}.")
        if options.global_pool == "token" and not options.class_token:
            raise UserError("model.global_pool=token needs model.class_token=true.")
        if not options.mlp_hidden:
            raise UserError(f"model.mlp_ratio={options.mlp_ratio:g} of model.embed_dim={options.embed_dim} gives no neuron.")
        if options.mlp_width % MLP_LAYERS[options.mlp_layer][1]:
            raise UserError(
                f"model.mlp_ratio={options.mlp_ratio:g} gives an MLP of {options.mlp_width} rows, and model.mlp_layer="
                f"{options.mlp_layer} needs an even number."
            )
        if options.distilled:
            for key, needed in {"global_pool": "token", "reg_tokens": 0, "no_embed_class": False}.items():
                if getattr(options, key) != needed:
                    raise UserError(f"model.distilled=true needs model.{key}={str(needed).lower()}.")

    @cached_property
    def structure(self) -> Structure:
        options, dim, classes = self.options, self.options.embed_dim, self.classes
        pixels = self.channels * options.patch_size**2
        return Structure(
            groups=tuple(group for block in range(options.depth) for group in (self._heads(block), self._neurons(block))),
            fixed_parameters=sum(self.fixed.values()),
            fixed_macs=self.patches * pixels * dim + (1 + options.distilled) * dim * classes,
        )

    @property
    def patches(self) -> int:
        height, width = self.image_size
        return (height // self.options.patch_size) * (width // self.options.patch_size)

    @property
    def tokens(self) -> int:
        """Of one image, in every block: patches, class token, distillation token, registers."""
        return self.patches + self.options.prefix_tokens

    @cached_property
    def fixed(self) -> dict[str, int]:
        options, dim, classes = self.options, self.options.embed_dim, self.classes
        pixels = self.channels * options.patch_size**2
        norm = "fc_norm" if options.norm_after_pooling else "norm"
        sizes = {
            "patch_embed.proj.weight": pixels * dim,
            "pos_embed": dim * (self.patches if options.no_embed_class else self.tokens),
            **_layer(norm, dim, dim),
        }
        sizes |= _layer("norm_pre", dim, dim) if options.pre_norm else {"patch_embed.proj.bias": dim}
        sizes |= {"cls_token": dim} if options.class_token else {}
        sizes |= {"dist_token": dim} if options.distilled else {}
        sizes |= {"reg_token": options.reg_tokens * dim} if options.reg_tokens else {}
        for classifier in ("head", "head_dist") if options.distilled else ("head",):
            sizes |= _layer(classifier, dim * classes, classes) if classes else {}
        for block in (f"blocks.{number}" for number in range(options.depth)):
            sizes |= {**_layer(f"{block}.norm1", dim, dim), **_layer(f"{block}.norm2", dim, dim)}
            sizes |= {f"{block}.attn.proj.bias": dim, f"{block}.mlp.fc2.bias": dim}
            if options.init_values is not None:
                sizes |= {f"{block}.ls1.gamma": dim, f"{block}.ls2.gamma": dim}
            if options.qk_norm:
                for name in (f"{block}.attn.q_norm", f"{block}.attn.k_norm"):
                    sizes |= _layer(name, options.head_dim, options.head_dim)
        return sizes

    def _heads(self, block: int) -> Group:
        dim, width, tokens, name = self.options.embed_dim, self.options.head_dim, self.tokens, f"blocks.{block}.attn"
        weight = Member(f"{name}.qkv.weight", 0, 3 * width * dim, "makes", lanes=width, repeats=3)
        bias = Member(f"{name}.qkv.bias", 0, 3 * width, "makes", lanes=width, repeats=3, matrix=False)
        return Group(
            name, "heads", block, self.options.num_heads,
            macs=tokens * width * (4 * dim + 2 * tokens),  # q, k, v and proj; then q·k and attention·v
            members=(
                weight,
                *([bias] if self.options.qkv_bias else []),
                Member(f"{name}.proj.weight", 1, width * dim, "reads", lanes=width),
            ),
        )  # fmt: skip

    def _neurons(self, block: int) -> Group:
        dim, name = self.options.embed_dim, f"blocks.{block}.mlp"
        layers, repeats = MLP_LAYERS[self.options.mlp_layer]
        making = [
            member
            for layer in layers
            for member in (
                Member(f"{name}.{layer}.weight", 0, repeats * dim, "makes", repeats=repeats),
                Member(f"{name}.{layer}.bias", 0, repeats, "makes", repeats=repeats, matrix=False),
            )
        ]
        return Group(
            name, "neurons", block, self.options.mlp_hidden,
            macs=self.tokens * (repeats * len(layers) + 1) * dim,
            members=(*making, Member(f"{name}.fc2.weight", 1, dim, "reads")),
        )  # fmt: skip

    def create(self) -> nn.Module:
        from prune.architectures.vit_timm import create

        return create(self.options, self.image_size, self.channels, self.classes)

    def check_model(self, model: nn.Module) -> None:
        from prune.architectures.vit_timm import check_model

        check_model(self.options, model)

    def resize(self, model: nn.Module, counts: Mapping[str, int]) -> None:
        for group in self.structure.of("heads"):
            attention: Any = model.get_submodule(group.name)
            attention.num_heads = counts[group.name]
            attention.attn_dim = attention.num_heads * attention.head_dim
            if attention.num_heads == 0:
                attention.fused_attn = False  # the plain formula accepts zero heads on every device; fused kernels need not

    def adapt_weights(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        from timm.models.vision_transformer import checkpoint_filter_fn

        weights = for_channels(weights, self.channels)
        try:
            adapted: dict[str, Tensor] = checkpoint_filter_fn(weights, model, adapt_layer_scale=True)
        except (RuntimeError, ValueError) as error:  # what resampling raises
            reason = str(error).splitlines()[0]
            raise UserError(
                f"model.pretrained={self.options.pretrained}: its embeddings do not fit the model ({reason})."
            ) from None
        return adapted

    def attention(self, model: nn.Module) -> Mapping[str, AttentionView]:
        from prune.architectures.vit_attention import ViTAttention

        options, (height, width) = self.options, self.image_size
        grid = height // options.patch_size, width // options.patch_size
        shown = 0 if options.global_pool == "token" else None
        view = ViTAttention.of(grid, options.patch_size, options.prefix_tokens, shown)
        return {group.name: view for group in self.structure.of("heads")}

    def fast_paths(self, model: nn.Module, device: str) -> list[tuple[nn.Module, type]]:
        from prune.architectures.fast.paths import fast_paths

        return fast_paths(model, device)


def _layer(name: str, weight: int, bias: int) -> dict[str, int]:
    """The two tensors of a linear layer or a norm → their sizes."""
    return {f"{name}.weight": weight, f"{name}.bias": bias}
