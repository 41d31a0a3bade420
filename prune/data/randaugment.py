"""RandAugment of whole batches: the operations and strengths of torchvision's, image for image the same pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torchvision.transforms.v2 import functional as F

from prune.data.operations import MOVES, SIGNED, TABLES, UNSIGNED, VARIANTS, Variant
from prune.data.recipe import RandAugmentOptions

BINS = 31
"""Strengths from none to full, of which `magnitude` is one."""


MOVED, MAPPED = (sum(name in names for name, _ in VARIANTS) for names in (MOVES, TABLES))
"""How many variants move pixels, and how many map values: these come first, in this order."""

SPANS = ((0, MOVED), (MOVED, MOVED + MAPPED), *((v, v + 1) for v in range(MOVED + MAPPED, len(VARIANTS) - 1)))
"""The variants that one kernel does together; the last, the identity, is done by none."""


class RandAugment:
    """Does what was drawn, for images of one size: torchvision's results with a few kernels a batch instead of some an image.

    As the strength is fixed, where a moved pixel comes from and what a value becomes are constants: they are found once, by
    asking torchvision. Images go to their places by being fetched, not written: on a GPU, kernels that write by index are not
    deterministic, or sort first and may wait for the host.
    """

    def __init__(self, options: RandAugmentOptions, size: tuple[int, int], device: torch.device):
        self._strengths = {name: strength(name, options.magnitude, size) for name in (*SIGNED, *UNSIGNED)}
        moves = [self._source(variant, size) for variant in VARIANTS if variant[0] in MOVES]
        values = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
        tables = [self._apply(variant, values).flatten() for variant in VARIANTS if variant[0] in TABLES]
        self._moves, self._tables = torch.stack(moves).to(device), torch.stack(tables).to(device)

    def __call__(self, images: Tensor, order: Tensor, variants: Tensor, counts: list[list[int]]) -> Tensor:
        """uint8 (b, 1 or 3, h, w) → the same shape.

        Args:
            order, variants, counts: what `draw_operations` gives, the tensors on the device of the images. As the host knows
                the counts, no kernel has to be waited for.
        """
        for of_round in zip(order, variants, counts, strict=True):
            images = self._round(images, *of_round)
        return images

    def _round(self, images: Tensor, order: Tensor, variants: Tensor, counts: list[int]) -> Tensor:
        images, parts, first = images.index_select(0, order), [], 0
        for begin, end in SPANS:
            count = sum(counts[begin:end])
            if not count:
                continue
            part, which = images[first : first + count], variants[first : first + count] - begin
            if begin == 0:
                parts.append(_move(part, self._moves.index_select(0, which)))
            elif begin == MOVED:
                parts.append(_look_up(part, self._tables.index_select(0, which)))
            else:
                parts.append(self._apply(VARIANTS[begin], part))
            first += count
        parts.append(images[first:])
        return torch.cat(parts).index_select(0, order.argsort())  # back to their places

    def _source(self, variant: Variant, size: tuple[int, int]) -> Tensor:
        """For each pixel, 1 + the pixel it comes from; 0: from outside. int64 (h·w)."""
        pixels = torch.arange(1, math.prod(size) + 1, dtype=torch.float32)  # exact up to 2^24 pixels
        return self._apply(variant, pixels.view(1, *size)).flatten().to(torch.int64)

    def _apply(self, variant: Variant, images: Tensor) -> Tensor:
        """One variant for all images."""
        name, sign = variant
        by = sign * self._strengths[name]
        if name.startswith("Shear"):
            angle = math.degrees(math.atan(by))
            shear = [angle, 0.0] if name == "ShearX" else [0.0, angle]
            return F.affine(images, angle=0.0, translate=[0, 0], scale=1.0, shear=shear, center=[0, 0])
        if name.startswith("Translate"):
            translate = [int(by), 0] if name == "TranslateX" else [0, int(by)]
            return F.affine(images, angle=0.0, translate=translate, scale=1.0, shear=[0.0, 0.0])
        return {
            "Rotate": lambda: F.rotate(images, by),
            "Brightness": lambda: F.adjust_brightness(images, 1 + by),
            "Contrast": lambda: F.adjust_contrast(images, 1 + by),
            "Color": lambda: F.adjust_saturation(images, 1 + by),
            "Sharpness": lambda: _sharpen(images, 1 + by),
            "Posterize": lambda: F.posterize(images, int(by)),
            "Solarize": lambda: F.solarize(images, 255 * by),
            "AutoContrast": lambda: F.autocontrast(images),
            "Equalize": lambda: _equalize(images),
        }[name]()


def strength(name: str, magnitude: int, size: tuple[int, int]) -> float:
    """What `magnitude`, of `BINS` - 1, means for an operation: a slope, pixels, degrees, a share, bits, or a threshold."""
    if name == "Posterize":
        return 8 - round(magnitude / ((BINS - 1) / 4))
    full = {"ShearX": 0.3, "ShearY": 0.3, "TranslateX": 150 / 331 * size[1], "TranslateY": 150 / 331 * size[0], "Rotate": 30.0}
    if name == "Solarize":
        return float(torch.linspace(1.0, 0.0, BINS)[magnitude])
    if name in UNSIGNED:
        return 0.0
    return float(torch.linspace(0.0, full.get(name, 0.9), BINS)[magnitude])


def _move(images: Tensor, source: Tensor) -> Tensor:
    """Fetch each pixel from where `source` (n, h·w) says; what comes from outside is black."""
    flat = images.flatten(2)
    outside = source == 0
    index = (source - 1).clamp_min_(0).unsqueeze(1).expand_as(flat)
    return flat.gather(2, index).masked_fill_(outside.unsqueeze(1), 0).view_as(images)


def _look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replace each value v of image i by `tables[i, v]`."""
    return tables.gather(1, images.flatten(1).to(torch.int64)).view_as(images)


def _sharpen(images: Tensor, factor: float) -> Tensor:
    """torchvision's adjust_sharpness, which copies its kernel from the host at each call: blend with the smoothed image."""
    if min(images.shape[-2:]) <= 2:
        return images
    output = images.to(torch.float32)
    inner = output[..., 1:-1, 1:-1]
    # A thirteenth of the sum of 3×3 pixels, the middle one counted five times: never halfway between two integers.
    smooth = avg_pool2d(output, 3, stride=1, divisor_override=1).add_(inner, alpha=4).div_(13).round_()
    inner.add_(smooth.sub_(inner), alpha=1 - factor)
    return output.clamp_(0, 255).to(torch.uint8)


def _equalize(images: Tensor) -> Tensor:
    """torchvision's equalize: of a channel's pixels that are not its brightest, a value becomes 255 times the share that is
    darker, rounded as Pillow rounds.

    All channels' pixels are counted in one row of numbers. For several rows, as torchvision has them, a GPU's deterministic
    kernel would wait for a copy from the host.
    """
    pixels = images.flatten(2).to(torch.int64)
    channels = torch.arange(pixels[..., 0].numel(), device=images.device).view(*pixels.shape[:2], 1)
    places = (256 * channels + pixels).flatten()
    counts = places.new_zeros(256 * channels.numel()).scatter_add_(0, places, torch.ones_like(places))
    counts = counts.view(*pixels.shape[:2], 256)
    step = (pixels < pixels.amax(2, keepdim=True)).sum(2, keepdim=True) // 255
    darker = counts.cumsum(2) - counts
    table = ((darker + step // 2) // step.clamp_min(1)).clamp_max_(255).to(torch.uint8)
    equalized = table.gather(2, pixels).view_as(images)
    return torch.where(step.unsqueeze(3) > 0, equalized, images)
