"""Plain Vision Transformers, timm's: heads and neurons.

A head owns the 3·d_head rows of `attn.qkv` (q, k and v; weight and bias) that make it and the d_head columns of `attn.proj`
that read it. A neuron owns a row of `mlp.fc1` (weight and bias) and a column of `mlp.fc2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from prune.architectures.base import Architecture, ModelOptions
from prune.architectures.group import Group, Member, Structure
from prune.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class ViTOptions(ModelOptions):
    """A timm VisionTransformer. The sizes are stated here so that counts are known without torch; the job checks them."""

    NOT_STRUCTURE: ClassVar[tuple[str, ...]] = (
        "pretrained", "drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate",
    )  # fmt: skip

    patch_size: int = Field(ge=1, le=1024, description="pixels along one side of a patch")
    depth: int = Field(ge=1, le=1000, description="transformer blocks")
    embed_dim: int = Field(ge=1, le=65_536, description="width of a token")
    num_heads: int = Field(ge=1, le=65_536, description="attention heads per block")
    mlp_ratio: float = Field(gt=0, le=1024, description="MLP neurons per block / embed_dim")
    class_token: bool = Field(True, description="whether a class token is prepended")
    global_pool: Literal["token", "avg"] = Field("token", description="what the classifier reads")
    drop_rate: float = Field(0.0, ge=0, lt=1, description="dropout before the classifier")
    proj_drop_rate: float = Field(0.0, ge=0, lt=1, description="dropout after attention and in the MLP")
    attn_drop_rate: float = Field(0.0, ge=0, lt=1, description="dropout on attention weights")
    drop_path_rate: float = Field(0.0, ge=0, lt=1, description="stochastic depth, growing linearly with depth")

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    @property
    def mlp_hidden(self) -> int:
        """Neurons of one block. A ratio that gives no whole number is rounded down, as timm does."""
        return int(self.embed_dim * self.mlp_ratio)


class ViT(Architecture):
    Options = ViTOptions
    options: ViTOptions

    def check(self) -> None:
        options = self.options
        for side in self.image_size:
            if side % options.patch_size:
                shown = side if len(set(self.image_size)) == 1 else f"[{', '.join(map(str, self.image_size))}]"
                raise UserError(f"dataset.image_size={shown} is not divisible by model.patch_size={options.patch_size}.")
        if options.embed_dim % options.num_heads:
            raise UserError(f"model.embed_dim={options.embed_dim} is not divisible by model.num_heads={options.num_heads}.")
        if options.global_pool == "token" and not options.class_token:
            raise UserError("model.global_pool=token needs model.class_token=true.")
        if options.name == "custom" and options.pretrained is True:
            raise UserError("model.name=custom has no pretrained weights of timm's; set model.pretrained=false or to a file.")

    @cached_property
    def structure(self) -> Structure:
        options, dim, classes = self.options, self.options.embed_dim, self.classes
        height, width = self.image_size
        patches = (height // options.patch_size) * (width // options.patch_size)
        tokens, pixels = patches + options.class_token, self.channels * options.patch_size**2
        embeddings = pixels * dim + dim + tokens * dim + options.class_token * dim
        norms = (2 * options.depth + 1) * 2 * dim
        output_biases = options.depth * 2 * dim
        return Structure(
            groups=tuple(
                group for block in range(options.depth) for group in (self._heads(block, tokens), self._neurons(block, tokens))
            ),
            fixed_parameters=embeddings + norms + output_biases + dim * classes + classes,
            fixed_macs=patches * pixels * dim + dim * classes,
        )

    def _heads(self, block: int, tokens: int) -> Group:
        dim, width, name = self.options.embed_dim, self.options.head_dim, f"blocks.{block}.attn"
        return Group(
            name, "heads", block, self.options.num_heads,
            macs=tokens * width * (4 * dim + 2 * tokens),  # q, k, v and proj; then q·k and attention·v
            members=(
                Member(f"{name}.qkv.weight", 0, 3 * width * dim, "makes", lanes=width, repeats=3),
                Member(f"{name}.qkv.bias", 0, 3 * width, "makes", lanes=width, repeats=3, matrix=False),
                Member(f"{name}.proj.weight", 1, width * dim, "reads", lanes=width),
            ),
        )  # fmt: skip

    def _neurons(self, block: int, tokens: int) -> Group:
        dim, name = self.options.embed_dim, f"blocks.{block}.mlp"
        return Group(
            name, "neurons", block, self.options.mlp_hidden,
            macs=tokens * 2 * dim,
            members=(
                Member(f"{name}.fc1.weight", 0, dim, "makes"),
                Member(f"{name}.fc1.bias", 0, 1, "makes", matrix=False),
                Member(f"{name}.fc2.weight", 1, dim, "reads"),
            ),
        )  # fmt: skip

    def create(self) -> nn.Module:
        import timm
        from timm.models.vision_transformer import VisionTransformer

        config = self.options
        options: dict[str, Any] = {
            "img_size": self.image_size,
            "patch_size": config.patch_size,
            "in_chans": self.channels,
            "num_classes": self.classes,
            "global_pool": config.global_pool,
            "drop_rate": config.drop_rate,
            "proj_drop_rate": config.proj_drop_rate,
            "attn_drop_rate": config.attn_drop_rate,
            "drop_path_rate": config.drop_path_rate,
        }
        if config.name == "custom":
            sizes = ("embed_dim", "depth", "num_heads", "mlp_ratio", "class_token")
            return VisionTransformer(**options, **{key: getattr(config, key) for key in sizes})
        # Only names in timm's own table: others would make timm look them up on the network.
        if not timm.is_model(config.name):
            raise UserError(f"model.name={config.name!r} is not a timm model; `timm.list_models('vit*')` lists them.")
        try:
            model: nn.Module = timm.create_model(config.name, pretrained=False, **options)
        except (TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"model.name={config.name!r} is not a ViT that can be pruned here ({reason}).") from None
        return model

    def check_model(self, model: nn.Module) -> None:
        from timm.models.vision_transformer import VisionTransformer

        config = self.options
        if not isinstance(model, VisionTransformer):
            raise UserError(f"model.name={config.name!r} is a {type(model).__name__}, not a timm VisionTransformer.")
        block: Any = model.blocks[0]
        hidden = block.mlp.fc1.out_features
        actual = {
            "depth": len(model.blocks),
            "embed_dim": model.embed_dim,
            "num_heads": block.attn.num_heads,
            "mlp_ratio": config.mlp_ratio if hidden == config.mlp_hidden else hidden / model.embed_dim,
            "class_token": model.has_class_token,
        }
        for key, value in actual.items():
            if getattr(config, key) != value:
                raise UserError(
                    f"model.{key}={getattr(config, key)} but timm's {config.name} has {value}; set model.{key}={value}."
                )

    def resize(self, model: nn.Module, counts: Mapping[str, int]) -> None:
        for group in self.structure.of("heads"):
            attention: Any = model.get_submodule(group.name)
            attention.num_heads = counts[group.name]
            attention.attn_dim = attention.num_heads * attention.head_dim
            if attention.num_heads == 0:
                attention.fused_attn = False  # the plain formula accepts zero heads on every device; fused kernels need not

    def adapt_weights(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        from timm.models.vision_transformer import checkpoint_filter_fn

        name = "patch_embed.proj.weight"
        if name in weights and weights[name].dim() == 4 and weights[name].shape[1] == 3 and self.channels == 1:
            weights = {**weights, name: weights[name].sum(dim=1, keepdim=True)}  # RGB to grey, as timm does
        adapted: dict[str, Tensor] = checkpoint_filter_fn(weights, model)
        return adapted

    def fast_paths(self, model: nn.Module, device: str) -> list[tuple[nn.Module, type]]:
        from prune.architectures.fast.vit import fast_paths

        return fast_paths(model, device)
