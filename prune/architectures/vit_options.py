"""The keys of `model:` for the vit family."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prune.architectures.timm_family import TimmOptions

MLP_LAYERS = {"mlp": (("fc1",), 1), "swiglu": (("fc1_g", "fc1_x"), 1), "swiglu_packed": (("fc1",), 2)}
"""model.mlp_layer → the layers that make a neuron, and how many rows it has in each."""


class ViTOptions(TimmOptions):
    """A timm VisionTransformer."""

    patch_size: int = Field(ge=1, le=1024, description="pixels along one side of a patch")
    depth: int = Field(ge=1, le=1000, description="transformer blocks")
    embed_dim: int = Field(ge=1, le=65_536, description="width of a token")
    num_heads: int = Field(ge=1, le=65_536, description="attention heads per block")
    mlp_ratio: float = Field(
        gt=0, le=1024, description="width of an MLP's first layer / embed_dim: neurons, or two rows each (`swiglu_packed`)"
    )
    class_token: bool = Field(True, description="whether a class token is prepended")
    global_pool: Literal["token", "avg"] = Field("token", description="what the classifier reads")
    distilled: bool = Field(False, description="a distillation token and a second classifier, as in distilled DeiT")
    reg_tokens: int = Field(0, ge=0, le=65_536, description="register tokens")
    no_embed_class: bool = Field(False, description="position embeddings for patches alone, as in DeiT-III")
    init_values: float | None = Field(None, gt=0, description="layer scale starts here; null: there is none")
    qkv_bias: bool = Field(True, description="whether queries, keys and values have biases")
    qk_norm: bool = Field(False, description="queries and keys are normalised, each head's on its own")
    mlp_layer: Literal["mlp", "swiglu", "swiglu_packed"] = Field(
        "mlp", description="MLPs: plain, or gated with gate and value from two layers or from one"
    )
    pre_norm: bool = Field(False, description="a norm before the blocks, and no bias in the patch embedding, as in CLIP")
    fc_norm: bool | None = Field(
        None, description="whether the last norm stands after pooling; null: it does for `global_pool: avg`"
    )

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    @property
    def mlp_hidden(self) -> int:
        """Neurons of one block. A ratio that gives no whole number is rounded down, as timm does."""
        return self.mlp_width // MLP_LAYERS[self.mlp_layer][1]

    @property
    def mlp_width(self) -> int:
        """Rows of the MLP's first layer."""
        return int(self.embed_dim * self.mlp_ratio)

    @property
    def norm_after_pooling(self) -> bool:
        return self.global_pool == "avg" if self.fc_norm is None else self.fc_norm

    @property
    def prefix_tokens(self) -> int:
        """Tokens that are no patches."""
        return self.class_token + self.distilled + self.reg_tokens
