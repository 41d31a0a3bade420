"""RandAugment's operations, and which of them each image of a batch gets. What they do is in `prune.data.randaugment`."""

from __future__ import annotations

import torch
from torch import Tensor

SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Contrast", "Color", "Sharpness")
"""Operations with a direction, drawn with it."""

UNSIGNED = ("Posterize", "Solarize", "AutoContrast", "Equalize", "Identity")

MOVES = SIGNED[:5]
"""Operations that fetch each pixel from elsewhere in the image, wherever that is for every image of this size."""

TABLES = ("Brightness", "Posterize", "Solarize")
"""Operations that give each value of a pixel another, whatever the image."""

Variant = tuple[str, int]
"""An operation, and its direction: 1 or -1."""

VARIANTS: tuple[Variant, ...] = (
    *((name, sign) for name in MOVES for sign in (1, -1)),
    ("Brightness", 1), ("Brightness", -1), ("Posterize", 1), ("Solarize", 1),
    *((name, sign) for name in ("Contrast", "Color", "Sharpness") for sign in (1, -1)),
    ("AutoContrast", 1), ("Equalize", 1), ("Identity", 1),
)  # fmt: skip
"""In the order in which a batch is sorted: what one kernel does lies together."""


PLACES = torch.tensor([[VARIANTS.index((name, s if name in SIGNED else 1)) for s in (1, -1)] for name in (*SIGNED, *UNSIGNED)])
"""By operation and direction, the place in `VARIANTS`."""


def draw_operations(rounds: int, images: int, generator: torch.Generator) -> tuple[Tensor, Tensor, list[list[int]]]:
    """Operations for a batch: each of the fourteen equally likely, each direction too. On the host.

    Returns:
        order: (rounds, images), int64: the images, sorted by the variant that they get.
        variants: (rounds, images), int64: those variants, as places in `VARIANTS`; rising.
        counts: by round and variant, how many images get it.
    """
    drawn = torch.randint(len(PLACES), (rounds, images), generator=generator)
    signs = torch.randint(2, (rounds, images), generator=generator)
    variants, order = PLACES[drawn, signs].sort(dim=1, stable=True)
    return order, variants, [torch.bincount(row, minlength=len(VARIANTS)).tolist() for row in variants]
