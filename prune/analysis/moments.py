"""Means and covariances of activations, batch by batch: memory does not grow with the number of images."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Count, mean and scatter matrix of vectors, merged batch by batch (Chan, Golub & LeVeque 1983). In float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(0, dtype=torch.float64)
        self.scatter = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, vectors: Tensor) -> None:
        """Further vectors: (samples, features)."""
        vectors = vectors.double()
        count, mean = len(vectors), vectors.mean(0)
        vectors = vectors - mean
        scatter = vectors.T @ vectors
        if self.count:
            shift, total = mean - self.mean, self.count + count
            scatter += self.scatter + torch.outer(shift, shift) * (self.count * count / total)
            mean, count = self.mean + shift * (count / total), total
        self.count, self.mean, self.scatter = count, mean, scatter

    @property
    def covariance(self) -> Tensor:
        """(features, features): scatter / count."""
        return self.scatter / self.count
