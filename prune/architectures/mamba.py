"""Vision Mambas as in Vim (Zhu et al., arXiv 2401.09417): the inner channels of a mixer, and neurons where blocks have an MLP.

A channel owns its x and its z row of `mixer.in_proj`; in each of the two directions its convolution, its row of `dt_proj`, its
rates `A_log` and its skip `D`; and the columns of `x_proj` (both directions) and of `out_proj`, which read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from prune.architectures.base import Architecture, ModelOptions, check_patches
from prune.architectures.group import Group, Member, Structure
from prune.base.errors import UserError

if TYPE_CHECKING:
    from torch import nn

DIRECTIONS = 2
SCAN_MACS = 3
"""`prune.architectures.scan.MACS`, which cannot be imported without torch; a test holds them equal."""

PUBLISHED: dict[str, dict[str, Any]] = {
    name: {"depth": 24, "embed_dim": dim, "expand": 2, "d_state": 16, "d_conv": 4, "norm": "rms", "mlp_ratio": 0.0}
    for name, dim in (("vim_tiny", 192), ("vim_small", 384))
}
"""Sizes of the paper's models (its table of ImageNet results and its program)."""


class MambaOptions(ModelOptions):
    """A Vision Mamba. There is no library behind it, so these are all its sizes."""

    NOT_STRUCTURE: ClassVar[tuple[str, ...]] = ("pretrained", "drop_path_rate")

    name: Literal["custom", "vim_tiny", "vim_small"] = Field(description="a model of the paper, or `custom`: the sizes below")
    patch_size: int = Field(ge=1, le=1024, description="pixels along one side of a patch")
    depth: int = Field(ge=1, le=1000, description="blocks")
    embed_dim: int = Field(ge=1, le=65_536, description="width of a token")
    expand: int = Field(2, ge=1, le=1024, description="inner channels of a mixer / embed_dim")
    d_state: int = Field(16, ge=1, le=1024, description="numbers of state of one channel")
    d_conv: int = Field(4, ge=1, le=1024, description="tokens that a mixer's convolution sees")
    norm: Literal["rms", "layer"] = Field("rms", description="RMSNorm, or LayerNorm")
    mlp_ratio: float = Field(0.0, ge=0, le=1024, description="MLP neurons per block / embed_dim")
    global_pool: Literal["token", "avg"] = Field("token", description="what the classifier reads")
    drop_path_rate: float = Field(0.0, ge=0, lt=1, description="stochastic depth, growing linearly with depth")

    @property
    def inner(self) -> int:
        """Channels of one block."""
        return self.expand * self.embed_dim

    @property
    def dt_rank(self) -> int:
        """Through how many numbers Δ goes: a sixteenth of the token's width, rounded up."""
        return -(-self.embed_dim // 16)

    @property
    def mlp_hidden(self) -> int:
        """Neurons of one block."""
        return int(self.embed_dim * self.mlp_ratio)

    @property
    def class_token(self) -> bool:
        return self.global_pool == "token"


class Mamba(Architecture):
    Options = MambaOptions
    options: MambaOptions

    no_attention = "A Vision Mamba has none: its mixers scan the tokens in order, and weigh no token against another."

    def check(self) -> None:
        options = self.options
        check_patches(self.image_size, options.patch_size)
        if options.mlp_ratio and not options.mlp_hidden:
            raise UserError(
                f"model.mlp_ratio={options.mlp_ratio:g} of model.embed_dim={options.embed_dim} gives no neuron; 0 means no MLP."
            )
        if options.pretrained is True:
            raise UserError("model.pretrained=true: timm has no weights of mamba; set model.pretrained=false or to a file.")
        for key, value in PUBLISHED.get(options.name, {}).items():
            if getattr(options, key) != value:
                raise UserError(
                    f"model.{key}={getattr(options, key)} but {options.name} has {value}; set model.{key}={value}, "
                    "or model.name=custom for sizes of your own."
                )

    @cached_property
    def structure(self) -> Structure:
        options, dim, classes = self.options, self.options.embed_dim, self.classes
        pixels = self.channels * options.patch_size**2
        embeddings = pixels * dim + dim + self._tokens * dim + options.class_token * dim
        norms = (options.depth * (2 if options.mlp_hidden else 1) + 1) * dim * (1 if options.norm == "rms" else 2)
        output_biases = options.depth * dim if options.mlp_hidden else 0
        return Structure(
            groups=tuple(group for block in range(options.depth) for group in self._groups(block)),
            fixed_parameters=embeddings + norms + output_biases + dim * classes + classes,
            fixed_macs=self._patches * pixels * dim + dim * classes,
        )

    @property
    def _patches(self) -> int:
        height, width = self.image_size
        return (height // self.options.patch_size) * (width // self.options.patch_size)

    @property
    def _tokens(self) -> int:
        return self._patches + self.options.class_token

    def _groups(self, block: int) -> Iterator[Group]:
        yield self._channels(block)
        if self.options.mlp_hidden:
            yield self._neurons(block)

    def _channels(self, block: int) -> Group:
        options, dim, name = self.options, self.options.embed_dim, f"layers.{block}.mixer"
        read = options.dt_rank + 2 * options.d_state
        members = [Member(f"{name}.in_proj.weight", 0, 2 * dim, "makes", repeats=2)]
        for way in ("", "_b"):
            members += [
                Member(f"{name}.conv1d{way}.weight", 0, options.d_conv, "between"),
                Member(f"{name}.conv1d{way}.bias", 0, 1, "between", matrix=False),
                Member(f"{name}.x_proj{way}.weight", 1, read, "reads"),
                Member(f"{name}.dt_proj{way}.weight", 0, options.dt_rank, "between"),
                Member(f"{name}.dt_proj{way}.bias", 0, 1, "between", matrix=False),
                Member(f"{name}.A{way}_log", 0, options.d_state, "between", matrix=False),
                Member(f"{name}.D{way}", 0, 1, "between", matrix=False),
            ]
        members.append(Member(f"{name}.out_proj.weight", 1, dim, "reads"))
        one_way = options.d_conv + read + options.dt_rank + SCAN_MACS * options.d_state
        return Group(
            name, "channels", block, options.inner,
            macs=self._tokens * (2 * dim + DIRECTIONS * one_way + dim),  # x and z; each direction; out
            members=tuple(members),
        )  # fmt: skip

    def _neurons(self, block: int) -> Group:
        dim, name = self.options.embed_dim, f"layers.{block}.mlp"
        return Group(
            name, "neurons", block, self.options.mlp_hidden,
            macs=self._tokens * 2 * dim,
            members=(
                Member(f"{name}.fc1.weight", 0, dim, "makes"),
                Member(f"{name}.fc1.bias", 0, 1, "makes", matrix=False),
                Member(f"{name}.fc2.weight", 1, dim, "reads"),
            ),
        )  # fmt: skip

    def create(self) -> nn.Module:
        from torch import nn

        from prune.architectures.mamba_model import VisionMamba

        options = self.options
        own = ("patch_size", "depth", "embed_dim", "inner", "d_state", "d_conv", "dt_rank", "mlp_hidden", "class_token")
        return VisionMamba(
            patches=self._patches,
            channels=self.channels,
            classes=self.classes,
            norm=nn.RMSNorm if options.norm == "rms" else nn.LayerNorm,
            drop_path_rate=options.drop_path_rate,
            **{key: getattr(options, key) for key in own},
        )

    def resize(self, model: nn.Module, counts: Mapping[str, int]) -> None:
        for group in self.structure.of("channels"):
            mixer: Any = model.get_submodule(group.name)
            mixer.d_inner = counts[group.name]
            for conv in (mixer.conv1d, mixer.conv1d_b):
                conv.in_channels = conv.out_channels = conv.groups = mixer.d_inner
