"""The images of analyses: seeded, in order, in batches as equal as can be, read in one pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.analysis.subjects import CHANNELS, SIZE, random_images


def test_some_of_them_are_the_same_each_time_and_in_the_order_of_the_split() -> None:
    first, again = random_images(40, most=15), random_images(40, most=15)
    assert first.indices.tolist() == again.indices.tolist() == sorted(set(first.indices.tolist()))
    assert len(first) == 15 and first.indices.tolist() != list(range(15))
    assert random_images(40, most=60).indices.tolist() == list(range(40))


@pytest.mark.parametrize(("size", "sizes"), [(4, [4, 3, 3]), (5, [5, 5]), (100, [10])])
def test_batches_differ_by_one_image_at_most_and_hold_all_in_order(size: int, sizes: list[int]) -> None:
    images = random_images(30, most=10)
    batches = list(images.batches(size))
    assert [len(labels) for _, labels in batches] == sizes and images.count(size) == len(sizes)
    everything = torch.cat([pixels for pixels, _ in batches])
    whole, _ = next(random_images(30).batches(30))
    assert torch.equal(everything, whole[images.indices])


def test_a_pass_is_one_request_to_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are then decoded ahead by the workers."""
    images = random_images(30)
    requests = []
    plain = images.loader.images
    monkeypatch.setattr(images.loader, "images", lambda *given: requests.append(given) or plain(*given))
    assert len(list(images.batches(7))) == 5 and len(requests) == 1


def test_pixels_are_shown_as_they_were_before_they_were_normalised() -> None:
    images = random_images(12)
    given, pixels = images.some(torch.tensor([3, 5]))
    assert given.shape == (2, CHANNELS, SIZE, SIZE) and pixels.shape == (2, SIZE, SIZE, CHANNELS)
    bytes_ = images.loader._images["val"][[3, 5]].permute(0, 2, 3, 1).numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(pixels, bytes_ / 255, atol=1e-6)
