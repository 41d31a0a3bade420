"""Swin Transformers (arXiv 2103.14030), timm's: heads and neurons, of stages of different widths.

A head owns what a ViT's does (the 3·d_head rows of `attn.qkv`, weight and bias, that make it, and the d_head columns of
`attn.proj` that read it) and its column of `attn.relative_position_bias_table`. A neuron owns a row of `mlp.fc1`, weight and
bias, and a column of `mlp.fc2`. What merges patches between two stages has no units.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from prune.architectures.base import Architecture, check_patches
from prune.architectures.group import Group, Member, Structure
from prune.architectures.timm_family import TimmOptions, for_channels, named_model
from prune.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prune.architectures.attention import AttentionView

log = logging.getLogger(__name__)

Blocks = Annotated[int, Field(ge=1, le=1000)]
Heads = Annotated[int, Field(ge=1, le=65_536)]
Pair = tuple[int, int]


class SwinOptions(TimmOptions):
    """A timm SwinTransformer."""

    patch_size: int = Field(ge=1, le=1024, description="pixels along one side of a patch")
    window_size: int = Field(
        ge=1, le=1024, description="tokens along one side of a window; a smaller feature map is one window"
    )
    embed_dim: int = Field(
        ge=1, le=65_536, description="width of a token; swin: in the first stage, and twice as wide in each later one"
    )
    depths: tuple[Blocks, ...] = Field(min_length=1, description="transformer blocks of each stage")
    num_heads: tuple[Heads, ...] = Field(min_length=1, description="attention heads per block; a list: of each stage")
    mlp_ratio: float = Field(gt=0, le=1024, description="MLP neurons per block / embed_dim")


@dataclass(frozen=True)
class Stage:
    """Blocks of one width. `grid` is the feature map in tokens, `window` one window, both as (height, width)."""

    depth: int
    dim: int
    heads: int
    grid: Pair
    window: Pair
    mlp_ratio: float

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def neurons(self) -> int:
        """Of one block. A ratio that gives no whole number is rounded down, as timm does."""
        return int(self.dim * self.mlp_ratio)

    @property
    def tokens(self) -> int:
        return prod(self.grid)

    @property
    def windowed_tokens(self) -> int:
        """Tokens that attention is given: the feature map is padded until windows tile it."""
        return prod(ceil(side / edge) * edge for side, edge in zip(self.grid, self.window, strict=True))

    @property
    def offsets(self) -> int:
        """Rows of the table of relative positions: the distances that two tokens of a window may have."""
        return prod(2 * edge - 1 for edge in self.window)


class Swin(Architecture):
    Options = SwinOptions
    options: SwinOptions

    def check(self) -> None:
        options = self.options
        options.check_pretrained()
        check_patches(self.image_size, options.patch_size)
        if len(options.num_heads) != len(options.depths):
            raise UserError(
                f"model.num_heads={list(options.num_heads)} and model.depths={list(options.depths)} must name as many stages "
                "as each other."
            )
        for number, stage in enumerate(self.stages):
            if stage.dim % stage.heads:
                raise UserError(
                    f"model.num_heads={list(options.num_heads)}: the {stage.dim} channels of stage {number} (model.embed_dim="
                    f"{options.embed_dim}, doubled by each later stage) are not divisible by {stage.heads} heads."
                )
        if not self.stages[0].neurons:
            raise UserError(f"model.mlp_ratio={options.mlp_ratio:g} of model.embed_dim={options.embed_dim} gives no neuron.")

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Each later stage is twice as wide, and half as large (an odd side is padded by one token)."""
        options, found = self.options, []
        height, width = (side // options.patch_size for side in self.image_size)
        for number, (depth, heads) in enumerate(zip(options.depths, options.num_heads, strict=True)):
            if number:
                height, width = (height + 1) // 2, (width + 1) // 2
            window = min(height, options.window_size), min(width, options.window_size)
            found.append(Stage(depth, options.embed_dim * 2**number, heads, (height, width), window, options.mlp_ratio))
        return tuple(found)

    @cached_property
    def structure(self) -> Structure:
        first, last = self.stages[0], self.stages[-1]
        pixels = self.channels * self.options.patch_size**2
        parameters = pixels * first.dim + first.dim + 2 * first.dim  # the patches' convolution and its norm
        macs = first.tokens * pixels * first.dim
        for number, stage in enumerate(self.stages):
            if number:  # four tokens of the stage before, normed together, make one
                before = 4 * self.stages[number - 1].dim
                parameters += 2 * before + before * stage.dim
                macs += stage.tokens * before * stage.dim
            parameters += stage.depth * (2 * 2 * stage.dim + 2 * stage.dim)  # two norms; the biases of proj and fc2
        parameters += 2 * last.dim + last.dim * self.classes + self.classes
        labels = (f"stage {number}, block {block}" for number, stage in enumerate(self.stages) for block in range(stage.depth))
        return Structure(tuple(self._groups()), parameters, macs + last.dim * self.classes, tuple(labels))

    def _groups(self) -> Iterator[Group]:
        block = 0
        for number, stage in enumerate(self.stages):
            for inside in range(stage.depth):
                name = f"layers.{number}.blocks.{inside}"
                yield _heads(f"{name}.attn", block, stage)
                yield _neurons(f"{name}.mlp", block, stage)
                block += 1

    def create(self) -> nn.Module:
        from timm.models.swin_transformer import SwinTransformer

        config = self.options
        options: dict[str, Any] = {
            "img_size": self.image_size,
            "patch_size": config.patch_size,
            "window_size": config.window_size,
            "in_chans": self.channels,
            "num_classes": self.classes,
            **config.dropout,
        }
        if config.name == "custom":
            sizes = ("embed_dim", "depths", "num_heads", "mlp_ratio")
            return SwinTransformer(**options, **{key: getattr(config, key) for key in sizes})
        return named_model(config.name, "Swin", options)

    def check_model(self, model: nn.Module) -> None:
        from prune.architectures.swin_modules import unknown_modules

        config, name = self.options, self.options.name
        if type(model).__name__ != "SwinTransformer":
            raise UserError(f"model.name={name!r} is a {type(model).__name__}, not a timm SwinTransformer.")
        if unknown := unknown_modules(model):
            raise UserError(f"model.name={name!r} has parts that the pruner does not know: {', '.join(unknown)}.")
        layers: Any = model.layers
        blocks = [layer.blocks[0] for layer in layers]
        first, ratio = blocks[0], blocks[0].mlp.fc1.out_features / blocks[0].dim
        actual = {
            "depths": tuple(len(layer.blocks) for layer in layers),
            "embed_dim": first.dim,
            "num_heads": tuple(block.attn.num_heads for block in blocks),
            "mlp_ratio": config.mlp_ratio if first.mlp.fc1.out_features == self.stages[0].neurons else ratio,
        }
        for key, value in actual.items():
            stated = getattr(config, key)
            if stated != value:
                shown, right = (list(v) if isinstance(v, tuple) else v for v in (stated, value))
                raise UserError(f"model.{key}={shown} but timm's {name} has {right}; set model.{key}={right}.")
        windows = [tuple(block.window_size) for block in blocks]
        if windows != [stage.window for stage in self.stages]:
            raise UserError(f"model.window_size={config.window_size} gives timm's {name} windows of {_sides(windows)} tokens.")
        log.info("windows of %s tokens on maps of %s, by stage", _sides(windows), _sides(stage.grid for stage in self.stages))

    def resize(self, model: nn.Module, counts: Mapping[str, int]) -> None:
        from prune.architectures.swin_modules import HeadlessWindowAttention

        for group in self.structure.of("heads"):
            attention: Any = model.get_submodule(group.name)
            attention.num_heads = counts[group.name]
            if attention.num_heads == 0:
                attention.__class__ = HeadlessWindowAttention

    def adapt_weights(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        from timm.models.swin_transformer import checkpoint_filter_fn

        wanted = "layers.0.blocks.0.attn.relative_position_bias_table"
        if wanted not in weights:
            other = " but a plain ViT's blocks.0.attn.qkv.weight" if "blocks.0.attn.qkv.weight" in weights else ""
            raise UserError(f"model.pretrained: these are not the weights of a Swin Transformer: they have no {wanted}{other}.")
        weights = for_channels(weights, self.channels)
        # Of blocks that the model lacks timm would look for the window.
        held = {key: value for key, value in weights.items() if not key.endswith(".relative_position_bias_table")}
        held |= {key: weights[key] for key in model.state_dict() if key in weights}
        adapted: dict[str, Tensor] = checkpoint_filter_fn(held, model)
        return adapted

    def attention(self, model: nn.Module) -> Mapping[str, AttentionView]:
        from prune.architectures.swin_attention import SwinAttention

        found = {}
        for number, stage in enumerate(self.stages):
            for inside in range(stage.depth):
                block = f"layers.{number}.blocks.{inside}"
                stride = self.options.patch_size * 2**number
                found[f"{block}.attn"] = SwinAttention.of(model.get_submodule(block), stage.grid, stride)
        return found

    def fast_paths(self, model: nn.Module, device: str) -> list[tuple[nn.Module, type]]:
        from prune.architectures.fast.paths import fast_paths

        return fast_paths(model, device)


def _heads(name: str, block: int, stage: Stage) -> Group:
    dim, width, area = stage.dim, stage.head_dim, prod(stage.window)
    return Group(
        name, "heads", block, stage.heads,
        macs=stage.windowed_tokens * width * (4 * dim + 2 * area),  # q, k, v and proj; then q·k and attention·v in a window
        members=(
            Member(f"{name}.qkv.weight", 0, 3 * width * dim, "makes", lanes=width, repeats=3),
            Member(f"{name}.qkv.bias", 0, 3 * width, "makes", lanes=width, repeats=3, matrix=False),
            Member(f"{name}.relative_position_bias_table", 1, stage.offsets, "between", matrix=False),
            Member(f"{name}.proj.weight", 1, width * dim, "reads", lanes=width),
        ),
    )  # fmt: skip


def _neurons(name: str, block: int, stage: Stage) -> Group:
    return Group(
        name, "neurons", block, stage.neurons,
        macs=stage.tokens * 2 * stage.dim,
        members=(
            Member(f"{name}.fc1.weight", 0, stage.dim, "makes"),
            Member(f"{name}.fc1.bias", 0, 1, "makes", matrix=False),
            Member(f"{name}.fc2.weight", 1, stage.dim, "reads"),
        ),
    )  # fmt: skip


def _sides(pairs: Any) -> str:
    """`4 × 4, 2 × 2`."""
    return ", ".join(f"{height} × {width}" for height, width in pairs)
