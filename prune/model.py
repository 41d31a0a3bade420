"""The timm ViT of a run: built, checked against the configuration, and loaded with pretrained weights."""

from __future__ import annotations

import logging
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from prune.config.schema import ModelConfig
from prune.errors import UserError
from prune.seeding import derive
from prune.shape import ViTShape

log = logging.getLogger(__name__)


def build_model(config: ModelConfig, shape: ViTShape, seed: int) -> VisionTransformer:
    """The dense model before state 0, on the CPU: random weights seeded by the run, then the pretrained ones if asked for.

    Raises:
        UserError: for a name that timm does not know, sizes that differ from timm's, or weights that do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "weights"))
        model = create(config, shape)
    check_sizes(model, config, shape)
    if config.pretrained is True:
        load_weights(model, timm_weights(config.name), f"timm's {config.name}")
    elif config.pretrained:
        load_weights(model, read_weights(Path(config.pretrained)), config.pretrained)
    return model


def create(config: ModelConfig, shape: ViTShape) -> VisionTransformer:
    """The dense architecture with timm's initial weights."""
    options: dict[str, Any] = {
        "img_size": shape.image_size,
        "patch_size": config.patch_size,
        "in_chans": shape.channels,
        "num_classes": shape.classes,
        "global_pool": config.global_pool,
        "drop_rate": config.drop_rate,
        "proj_drop_rate": config.proj_drop_rate,
        "attn_drop_rate": config.attn_drop_rate,
        "drop_path_rate": config.drop_path_rate,
    }
    if config.name == "custom":
        return VisionTransformer(
            **options,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_ratio=config.mlp_ratio,
            class_token=config.class_token,
        )
    if not timm.is_model(config.name):
        raise UserError(f"model.name={config.name!r} is not a timm model; `timm.list_models('vit*')` lists them.")
    try:
        model = timm.create_model(config.name, pretrained=False, **options)
    except (TypeError, RuntimeError) as error:
        raise UserError(f"model.name={config.name!r} is not a ViT that can be pruned here ({error}).") from None
    return model


def check_sizes(model: nn.Module, config: ModelConfig, shape: ViTShape) -> None:
    """Raise `UserError` unless the model is a plain ViT of exactly the stated sizes."""
    if not isinstance(model, VisionTransformer):
        raise UserError(f"model.name={config.name!r} is a {type(model).__name__}, not a timm VisionTransformer.")
    block: Any = model.blocks[0]
    hidden = block.mlp.fc1.out_features
    actual = {
        "depth": len(model.blocks),
        "embed_dim": model.embed_dim,
        "num_heads": block.attn.num_heads,
        # A ratio that gives no whole number of neurons is rounded down, by timm as by `shape`.
        "mlp_ratio": config.mlp_ratio if hidden == shape.mlp_hidden else hidden / model.embed_dim,
        "class_token": model.has_class_token,
    }
    for key, value in actual.items():
        if getattr(config, key) != value:
            raise UserError(
                f"model.{key}={getattr(config, key)} but timm's {config.name} has {value}; set model.{key}={value}."
            )
    counted = sum(parameter.numel() for parameter in model.parameters())
    if counted != shape.parameters().total:
        raise UserError(
            f"model.name={config.name!r} has parts that the pruner does not know (it has {counted:,} parameters where a plain "
            f"ViT of its sizes has {shape.parameters().total:,})."
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or torch checkpoint (plain, or under `model` or `state_dict`). No code is executed."""
    if not path.is_file():
        raise UserError(f"model.pretrained={path} does not exist.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken file makes the reader raise
        raise UserError(
            f"model.pretrained={path} cannot be read ({type(error).__name__}: {str(error).splitlines()[0]})."
        ) from None
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"model.pretrained={path} holds no dictionary of tensors.")
    return content


def load_weights(model: VisionTransformer, weights: dict[str, Tensor], source: str) -> None:
    """Load every backbone tensor, patch and position embeddings resampled by timm; the classifier only if it fits.

    Raises:
        UserError: listing the backbone tensors that are missing or do not fit.
    """
    wanted = model.state_dict()
    weights = _adapt_channels(weights, wanted)
    weights = checkpoint_filter_fn(weights, model)
    backbone = [name for name in wanted if not name.startswith("head.")]
    missing = [name for name in backbone if name not in weights]
    unfit = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in backbone
        if name in weights and weights[name].shape != wanted[name].shape
    ]
    if missing or unfit:
        problems = [f"it lacks {', '.join(missing)}"] * bool(missing) + [f"it has {', '.join(unfit)}"] * bool(unfit)
        raise UserError(f"model.pretrained: {source} does not fit the model: {'; '.join(problems)}.")
    fitting = {name: weights[name] for name in wanted if name in weights and weights[name].shape == wanted[name].shape}
    model.load_state_dict(fitting, strict=False)
    head = "too" if "head.weight" in fitting else "not (another number of classes)"
    log.info(
        "pretrained: %d of %d backbone tensors loaded from %s; classifier %s",
        len(backbone),
        len(backbone),
        source,
        head,
    )


def _adapt_channels(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sum RGB patch-embedding weights for grey images, as timm does."""
    name = "patch_embed.proj.weight"
    if name in weights and weights[name].dim() == 4 and weights[name].shape[1] == 3 and wanted[name].shape[1] == 1:
        return {**weights, name: weights[name].sum(dim=1, keepdim=True)}
    return weights


def timm_weights(name: str) -> dict[str, Tensor]:
    """timm's ImageNet weights, downloaded on first use."""
    if not timm.is_model(name):
        raise UserError(f"model.name={name!r} is not a timm model; `timm.list_models('vit*')` lists them.")
    try:
        with _hub_quiet_and_quick():
            return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # whatever the hub's client raises without network or without such weights
        raise UserError(
            f"model.pretrained=true: the weights of {name} could not be fetched ({type(error).__name__}); fetch them on "
            "a machine with network (python -m prune data fetch), or set model.pretrained to a local file or to false."
        ) from None


@contextmanager
def _hub_quiet_and_quick() -> Iterator[None]:
    """Without a network, use what is cached or fail at once: the hub's client would retry, aloud, for most of a minute."""
    from huggingface_hub import constants

    chatter = logging.getLogger("huggingface_hub")
    level, offline = chatter.level, constants.HF_HUB_OFFLINE
    chatter.setLevel(logging.ERROR)
    constants.HF_HUB_OFFLINE = offline or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        chatter.setLevel(level)
        constants.HF_HUB_OFFLINE = offline


def _reachable(address: str) -> bool:
    """Whether the host answers at all. Behind a proxy that cannot be told, so the client may try."""
    if urllib.request.getproxies():
        return True
    parts = urllib.parse.urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=5).close()
    except OSError:
        return False
    return True
