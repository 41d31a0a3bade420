"""Random erasing (Zhong et al. 2017, arXiv 1708.04896): boxes drawn as torchvision's RandomErasing draws them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

AREA = (0.02, 0.33)
"""Share of the image that a box takes."""

ASPECT = (0.3, 3.3)
"""Height over width, uniform in its logarithm."""

ATTEMPTS = 10
"""Boxes drawn for an image before it is left as it is: those that do not fit into it are drawn again."""


def draw_boxes(prob: float, images: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(images, 4), int64: top, bottom, left and right of the box of each image; bottom and right lie outside of it.
    An image that keeps all its pixels has an empty box. On the host."""
    height, width = size
    drawn = torch.rand(5, ATTEMPTS, images, generator=generator, dtype=torch.float64)
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * drawn[0])
    low, high = (math.log(ratio) for ratio in ASPECT)
    aspect = torch.exp(low + (high - low) * drawn[1])
    tall, wide = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (tall < height) & (wide < width)
    top, left = (drawn[2] * (height - tall + 1)).floor(), (drawn[3] * (width - wide + 1)).floor()
    first = fits.int().argmax(0, keepdim=True)  # of equal values the first
    boxes = torch.stack([top, top + tall, left, left + wide]).gather(1, first.expand(4, 1, images)).squeeze(1)
    erased = fits.any(0) & (drawn[4, 0] < prob)
    return (boxes * erased).to(torch.int64).T.contiguous()


def erase(images: Tensor, boxes: Tensor) -> Tensor:
    """Set the boxes of float images (b, c, h, w) to 0, which is the mean colour of normalised ones; in place.

    Args:
        boxes: (b, 4), on the device of the images.
    """
    top, bottom, left, right = boxes.T.unsqueeze(2)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    tall, wide = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return images.masked_fill_((tall.unsqueeze(2) & wide.unsqueeze(1)).unsqueeze(1), 0)
