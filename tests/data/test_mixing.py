"""Shares and boxes follow their distributions, and batches are mixed as a loop over images and pixels would mix them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from timm.data.mixup import rand_bbox

from prune.data.mixing import Mix, draw_mix, mix_images
from prune.data.recipe import MixOptions


def draws(options: MixOptions, count: int, size: tuple[int, int] = (32, 32)) -> list[Mix | None]:
    generator = torch.Generator().manual_seed(0)
    return [draw_mix(options, 8, size, generator)[1] for _ in range(count)]


def kinds(found: list[Mix | None]) -> tuple[int, int, int]:
    """How many batches are left, mixed by MixUp, and by CutMix."""
    mixed = [mix for mix in found if mix is not None]
    return len(found) - len(mixed), sum(mix.box is None for mix in mixed), sum(mix.box is not None for mix in mixed)


def test_both_are_drawn_as_often_as_asked() -> None:
    left, by_mixup, by_cutmix = kinds(draws(MixOptions(mixup=0.8, cutmix=1.0, prob=0.6, switch_prob=0.25), 10_000))
    assert abs(left - 4_000) < 250 and abs(by_mixup - 4_500) < 250 and abs(by_cutmix - 1_500) < 200  # five standard deviations


@pytest.mark.parametrize(
    ("options", "of"),
    [(MixOptions(mixup=0.2), 1), (MixOptions(cutmix=1.0), 2), (MixOptions(mixup=0.2, switch_prob=1.0), 1)],
)
def test_one_alone_mixes_every_batch(options: MixOptions, of: int) -> None:
    assert kinds(draws(options, 50))[of] == 50


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 4.0])
def test_mixups_share_follows_the_beta_distribution(alpha: float) -> None:
    shares = [mix.share for mix in draws(MixOptions(mixup=alpha), 4_000) if mix is not None]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_cutmixs_boxes_are_distributed_as_timms_and_its_share_is_what_they_leave() -> None:
    height, width = size = (12, 20)
    found = []
    for mix in draws(MixOptions(cutmix=1.0), 4_000, size):
        assert mix is not None and mix.box is not None
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= height and 0 <= left <= right <= width
        assert mix.share == pytest.approx(1 - (bottom - top) * (right - left) / (height * width))
        found.append((*mix.box, mix.share))
    np.random.seed(0)  # where timm draws from
    theirs = [rand_bbox((1, 3, *size), share) for share in np.random.beta(1, 1, 4_000)]
    expected = [(*box, 1 - (box[1] - box[0]) * (box[3] - box[2]) / (height * width)) for box in theirs]
    for one, other in zip(np.array(found).T, np.array(expected).T, strict=True):
        assert stats.ks_2samp(one, other).pvalue > 0.001


def test_mixup_mixes_every_pixel() -> None:
    images = torch.randn(6, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    partners = torch.tensor([2, 0, 1, 3, 5, 4])
    expected = torch.stack([0.3 * images[i] + 0.7 * images[partners[i]] for i in range(6)])
    assert torch.allclose(mix_images(images.clone(), partners, Mix(0.3, None)), expected, rtol=0, atol=1e-6)


def test_cutmix_takes_the_box_from_the_partner() -> None:
    images = torch.randn(6, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    partners = torch.tensor([2, 0, 1, 3, 5, 4])
    expected = images.clone()
    for i in range(6):
        expected[i, :, 1:3, 0:4] = images[partners[i], :, 1:3, 0:4]
    assert torch.equal(mix_images(images.clone(), partners, Mix(0.6, (1, 3, 0, 4))), expected)


def test_partners_are_a_permutation_and_equal_generators_draw_the_same() -> None:
    one, two = (draw_mix(MixOptions(mixup=1.0), 32, (8, 8), torch.Generator().manual_seed(4)) for _ in range(2))
    assert sorted(one[0].tolist()) == list(range(32))
    assert torch.equal(one[0], two[0]) and one[1] == two[1]
