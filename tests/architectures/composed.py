"""The dense model of a composed configuration."""

from __future__ import annotations

from timm.models.vision_transformer import VisionTransformer

from prune.architectures.build import build_model
from prune.config import RunConfig

TINY = ("dataset=cifar10", "model=vit_tiny")


def build(config: RunConfig, seed: int = 0) -> VisionTransformer:
    return build_model(config.architecture(10), seed)
