"""Structures of models of random sizes, of every family."""

from __future__ import annotations

import random

from prune.architectures.group import Structure
from tests.architectures import mambas, swins, vits

FAMILIES = ("vit", "swin", "mamba")


def random_structure(family: str, draw: random.Random) -> Structure:
    """A small model's: what no unit owns weighs more or less."""
    if family == "vit":
        heads = draw.randint(1, 6)
        shape = vits.Shape(
            (4 * draw.randint(1, 4), 8), 4, channels=draw.choice([1, 3]), classes=draw.choice([2, 100]),
            embed_dim=heads * draw.randint(1, 4), depth=draw.randint(1, 4), num_heads=heads, mlp_hidden=draw.randint(1, 20),
            class_token=draw.random() < 0.5,
        )  # fmt: skip
        return shape.structure
    if family == "swin":
        stages = draw.randint(1, 3)
        first = draw.randint(1, 2)
        return swins.Shape(
            (16, 8 * draw.randint(1, 2)), 2, draw.randint(2, 4), channels=1, classes=draw.choice([2, 100]),
            embed_dim=2 * first * draw.randint(1, 2), depths=tuple(draw.randint(1, 2) for _ in range(stages)),
            num_heads=tuple(first * 2**stage for stage in range(stages)), mlp_ratio=draw.choice([1.0, 1.5, 2.0]),
        ).architecture.structure  # fmt: skip
    sizes = {"depth": draw.randint(1, 4), "embed_dim": draw.randint(4, 12), "d_state": draw.randint(1, 4)}
    mlp = {"mlp_ratio": draw.choice([0, 1.0, 1.5])}
    return mambas.architecture({**mambas.PLAIN, **sizes, **mlp}).structure
