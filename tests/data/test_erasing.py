"""Boxes are erased where they are drawn, and drawn as torchvision's RandomErasing draws them."""

from __future__ import annotations

import torch
from torchvision.transforms import v2

from prune.data.erasing import AREA, ASPECT, draw_boxes, erase


def test_boxes_are_set_to_the_mean_one_by_one() -> None:
    images = torch.randn(40, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    boxes = draw_boxes(0.7, 40, (12, 16), torch.Generator().manual_seed(1))
    expected = images.clone()
    for image, (top, bottom, left, right) in zip(expected, boxes.tolist(), strict=True):
        image[:, top:bottom, left:right] = 0
    assert torch.equal(erase(images, boxes), expected)


def test_the_share_of_images_that_lose_a_box_is_the_probability() -> None:
    boxes = draw_boxes(0.25, 40_000, (32, 32), torch.Generator().manual_seed(0))
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    assert abs(float((area > 0).float().mean()) - 0.25) < 0.011  # five standard deviations
    assert not draw_boxes(0.0, 100, (32, 32), torch.Generator().manual_seed(0)).any()


def test_area_aspect_and_place_are_distributed_as_torchvisions() -> None:
    """Two samples of each: means within five standard errors."""
    total, size = 4_000, (32, 48)
    boxes = draw_boxes(1.0, total, size, torch.Generator().manual_seed(0)).double()
    ours = torch.stack([boxes[:, 0], boxes[:, 2], boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]])
    torch.manual_seed(0)
    theirs = v2.RandomErasing(p=1.0, scale=AREA, ratio=ASPECT)
    image = torch.zeros(3, *size)
    found = [theirs.make_params([image]) for _ in range(total)]
    expected = torch.tensor([[found_["i"], found_["j"], found_["h"], found_["w"]] for found_ in found]).double().T
    for one, other in zip(ours, expected, strict=True):
        assert abs(one.mean() - other.mean()) < 5 * ((one.var() + other.var()) / total) ** 0.5
        assert abs(one.std() - other.std()) < 0.05 * other.std()


def test_boxes_lie_within_the_image() -> None:
    boxes = draw_boxes(1.0, 2_000, (8, 8), torch.Generator().manual_seed(0))
    top, bottom, left, right = boxes.T
    assert (boxes >= 0).all() and (bottom <= 8).all() and (right <= 8).all() and (top <= bottom).all() and (left <= right).all()
