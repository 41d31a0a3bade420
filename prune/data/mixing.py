"""MixUp (Zhang et al. 2017, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899) of a batch with itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.special import betaincinv  # type: ignore[import-untyped]
from torch import Tensor

from prune.data.recipe import MixOptions


@dataclass(frozen=True)
class Mix:
    """How a batch of images is mixed.

    Attributes:
        share: of each image that stays its own, in [0, 1]; its partner has the rest.
        box: top, bottom, left and right of what CutMix takes from the partner; None: MixUp.
    """

    share: float
    box: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class MixedLabels:
    """The labels (b), int64, that the images of a mixed batch have besides their own, and their own's share."""

    labels: Tensor
    share: float


def draw_mix(options: MixOptions, images: int, size: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Mix | None]:
    """Whom each image is mixed with, a permutation (images), int64; and how, None: not at all. On the host.

    The same numbers are drawn whatever comes of them. The share is drawn from Beta(alpha, alpha) by its inverse distribution
    function, so one uniform number makes it. CutMix's box has the partner's share of the image and its centre anywhere;
    what lies outside is cut off, and the share is what the box that is left leaves.
    """
    partners = torch.randperm(images, generator=generator)
    mixed, switch, chance, down, across = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    if mixed >= options.prob:
        return partners, None
    cut = switch < options.cutmix_share
    alpha = options.cutmix if cut else options.mixup
    share = float(betaincinv(alpha, alpha, chance))
    if not cut:
        return partners, Mix(share, None)
    height, width = size
    tall, wide = (int(length * math.sqrt(1 - share)) for length in size)
    first, start = int(down * height) - tall // 2, int(across * width) - wide // 2
    top, bottom, left, right = max(0, first), min(height, first + tall), max(0, start), min(width, start + wide)
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return partners, Mix(share, (top, bottom, left, right))


def mix_images(images: Tensor, partners: Tensor, mix: Mix) -> Tensor:
    """Float images (b, c, h, w), each mixed with image `partners[i]`; they are written over."""
    if mix.box is None:
        return images.lerp_(images.index_select(0, partners), 1 - mix.share)
    top, bottom, left, right = mix.box
    part = images[:, :, top:bottom, left:right]
    part.copy_(part.index_select(0, partners))
    return images
