"""Accuracy by class and calibration against loops over images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from prune.analysis.judging import BINS, bins_of, by_class, expected_calibration_error, flipped, judge
from tests.analysis.subjects import MODELS, dense_model, pixels_of, random_images


@pytest.mark.parametrize("family", MODELS)
def test_each_image_is_judged_by_its_own_softmax(family: str) -> None:
    model, (images, labels) = dense_model(family), pixels_of(random_images(12))
    chosen, confidence, loss = judge(model, images, labels)
    for number, label in enumerate(labels.tolist()):
        with torch.no_grad():
            logits = model(images[number : number + 1])[0].double().tolist()
        powers = [math.exp(value) for value in logits]
        shares = [power / sum(powers) for power in powers]
        assert chosen[number] == shares.index(max(shares))
        assert confidence[number].item() == pytest.approx(max(shares), rel=1e-5)
        assert loss[number].item() == pytest.approx(-math.log(shares[label]), rel=1e-4)


def test_accuracy_by_class_and_a_class_without_images() -> None:
    found = by_class(np.array([True, False, True, True]), np.array([0, 0, 2, 2]), 3)
    np.testing.assert_array_equal(found, [50, np.nan, 100])


def test_calibration_is_the_sum_over_bins() -> None:
    draw = np.random.default_rng(0)
    confidence, right = draw.random(500).astype(np.float32), draw.random(500) < 0.6
    confidence[:2] = 0, 1  # both ends belong to a bin
    expected, counts = 0.0, []
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [i for i in range(500) if low < confidence[i] <= high or (number == 0 and confidence[i] == 0)]
        counts.append(len(inside))
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            expected += len(inside) / 500 * abs(accuracy - sum(float(confidence[i]) for i in inside) / len(inside))
    np.testing.assert_array_equal(bins_of(confidence, right)[0], counts)
    assert expected_calibration_error(confidence, right) == pytest.approx(expected, abs=1e-12)


def test_a_model_that_is_as_sure_as_it_is_right_has_no_error() -> None:
    confidence = np.full(1000, 0.8, dtype=np.float32)
    assert expected_calibration_error(confidence, np.arange(1000) < 800) == pytest.approx(0, abs=1e-6)


def test_flips_are_the_images_that_one_model_alone_has_right() -> None:
    numbers = {
        "labels": np.array([0, 1, 2, 3]), "predicted.dense": np.array([0, 1, 0, 0]), "predicted.now": np.array([0, 0, 2, 0]),
    }  # fmt: skip
    lost, won = flipped(numbers)
    assert (lost.tolist(), won.tolist()) == ([1], [2])
