"""Merged batch by batch, the covariance is numpy's of all at once, also far from zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prune.analysis.moments import Moments


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_covariance_of_batches_is_that_of_all(offset: float) -> None:
    vectors = offset + torch.randn((50, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moments = Moments()
    for part in vectors.split([1, 20, 7, 22]):
        moments.add(part)
    assert moments.count == 50
    np.testing.assert_allclose(moments.mean, vectors.mean(0))
    np.testing.assert_allclose(moments.covariance, np.cov(vectors.numpy().T, bias=True), rtol=1e-9)


def test_of_nothing_there_is_no_covariance() -> None:
    assert Moments().covariance.shape == (0, 0)
