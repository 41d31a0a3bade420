"""timm's VisionTransformer for a configuration: made, and compared with what the configuration states."""

from __future__ import annotations

from typing import Any

from timm.layers import Attention, GluMlp, Mlp, SwiGLU, SwiGLUPacked
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from prune.architectures.timm_family import named_model
from prune.architectures.vit_options import ViTOptions
from prune.base.errors import UserError

STATED = (
    "embed_dim", "depth", "num_heads", "mlp_ratio", "class_token", "reg_tokens", "no_embed_class", "init_values", "qkv_bias",
    "qk_norm", "pre_norm", "fc_norm",
)  # fmt: skip
"""Keys that a custom model is made with. A named one has values of its own for them, which must be the same."""

MLPS: dict[str, Any] = {"mlp": Mlp, "swiglu": SwiGLU, "swiglu_packed": SwiGLUPacked}
"""model.mlp_layer → what makes such an MLP."""

MLP_CLASSES: dict[str, type[nn.Module]] = {"mlp": Mlp, "swiglu": SwiGLU, "swiglu_packed": GluMlp}
"""model.mlp_layer → its class, whatever the activation: a neuron is the same."""


def create(config: ViTOptions, image_size: tuple[int, int], channels: int, classes: int) -> nn.Module:
    """The dense model with timm's initial weights; a distilled one gives both classifiers' logits in training."""
    options: dict[str, Any] = {
        "img_size": image_size,
        "patch_size": config.patch_size,
        "in_chans": channels,
        "num_classes": classes,
        "global_pool": config.global_pool,
        **config.dropout,
    }
    if config.name == "custom":
        family = VisionTransformerDistilled if config.distilled else VisionTransformer
        stated = {key: getattr(config, key) for key in STATED}
        # A block gives its MLP an activation, GELU if none is chosen, also one that has SiLU by itself.
        activation = None if config.mlp_layer == "mlp" else nn.SiLU
        model = family(**options, **stated, mlp_layer=MLPS[config.mlp_layer], act_layer=activation)
    else:
        model = named_model(config.name, "ViT", options)
    if isinstance(model, VisionTransformerDistilled):
        model.set_distilled_training(True)
    return model


def check_model(config: ViTOptions, model: nn.Module) -> None:
    """Raise `UserError`, naming keys or modules, unless the model is a VisionTransformer of the stated kind and sizes."""
    if not isinstance(model, VisionTransformer):
        raise UserError(f"model.name={config.name!r} is a {type(model).__name__}, not a timm VisionTransformer.")
    for number, block in enumerate(model.blocks):
        _check_block(config.name, f"blocks.{number}", block)
    for key, value in _found(config, model).items():
        if getattr(config, key) != value:
            raise UserError(
                f"model.{key}={_shown(getattr(config, key))} but timm's {config.name} has {_shown(value)}; "
                f"set model.{key}={_shown(value)}."
            )


def _check_block(model: str, name: str, block: Any) -> None:
    for part, known in (("attn", Attention), ("mlp", tuple(MLP_CLASSES.values()))):
        found = getattr(block, part, block)  # a block of another kind has none
        if not isinstance(found, known):
            where = name if found is block else f"{name}.{part}"
            raise UserError(
                f"model.name={model!r} has parts that the pruner does not know: {where} is a {type(found).__name__}."
            )


def _found(config: ViTOptions, model: Any) -> dict[str, Any]:
    """What the model has for the keys that a configuration states; values that mean the same are given as stated there."""
    block = model.blocks[0]
    kind = next(kind for kind, known in MLP_CLASSES.items() if isinstance(block.mlp, known))
    width = block.mlp.fc1_x.out_features if kind == "swiglu" else block.mlp.fc1.out_features
    after_pooling = not isinstance(model.fc_norm, nn.Identity)
    return {
        "depth": len(model.blocks),
        "embed_dim": model.embed_dim,
        "num_heads": block.attn.num_heads,
        "mlp_layer": kind,
        "mlp_ratio": config.mlp_ratio if width == config.mlp_width else width / model.embed_dim,
        "class_token": model.has_class_token,
        "distilled": isinstance(model, VisionTransformerDistilled),
        "reg_tokens": model.num_reg_tokens,
        "no_embed_class": model.no_embed_class,
        "init_values": getattr(block.ls1, "init_values", None),
        "qkv_bias": block.attn.qkv.bias is not None,
        "qk_norm": not isinstance(block.attn.q_norm, nn.Identity),
        "pre_norm": not isinstance(model.norm_pre, nn.Identity),
        "fc_norm": config.fc_norm if after_pooling == config.norm_after_pooling else after_pooling,
    }


def _shown(value: Any) -> Any:
    """As it is typed."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else value
