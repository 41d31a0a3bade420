"""The criteria: one non-negative score for each alive unit, from the trained weights (and, for some, calibration data).

Each class is one criterion. `scores` serves `pools=separate`; `densities`, comparable between heads and neurons, serves
`pools=joint`. A new criterion is one class here and one line in prune/criteria.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from prune.ranking import Scores
from prune.schedule import number_kept
from prune.shape import ViTShape
from prune.units import KINDS, Kind, Part, parts

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Scoring:
    """All that a criterion may look at.

    Attributes:
        model: the trained model, dense or compact.
        shape: the dense model's sizes.
        rate_heads, rate_neurons: p_s of each kind.
        kinds: the kinds that are being pruned.
        batches: gives the calibration batches afresh: (normalised images, labels), never augmented.
        generator: seeded for this run and state.
    """

    model: VisionTransformer
    shape: ViTShape
    rate_heads: float
    rate_neurons: float
    kinds: tuple[Kind, ...]
    batches: Batches
    generator: torch.Generator

    def collect(self, score_block: Callable[[Block, Kind], Tensor]) -> Scores:
        """Apply a function of (block, kind) to every block; the vectors come back on the CPU."""
        by_kind = {kind: tuple(score_block(block, kind).detach().cpu() for block in self.model.blocks) for kind in KINDS}
        return Scores(by_kind["heads"], by_kind["neurons"])

    def parameters(self, kind: Kind) -> int:
        """Parameters of one unit of a kind."""
        return self.shape.head_parameters if kind == "heads" else self.shape.neuron_parameters


class Criterion(ABC):
    """Scores units; see the module's text."""

    @abstractmethod
    def scores(self, scoring: Scoring) -> Scores:
        """One score per alive unit, comparable within a kind."""

    @abstractmethod
    def densities(self, scoring: Scoring) -> Scores:
        """One number per alive unit, comparable between kinds."""


def _sum_units(tensor: Tensor) -> Tensor:
    """Sum over everything but dimension 0."""
    return tensor.flatten(1).sum(1) if tensor.dim() > 1 else tensor


def _sum_parts(chosen: Iterable[Part], function: Callable[[Tensor], Tensor]) -> Tensor:
    """Σ function(w) over the given parts of each unit."""
    return torch.stack([_sum_units(function(part.tensor)) for part in chosen]).sum(0)


class Magnitude(Criterion):
    """Σ|w| over the head's qkv weight rows, or the neuron's fc1 weight row."""

    @torch.no_grad()
    def scores(self, scoring: Scoring) -> Scores:
        return scoring.collect(lambda block, kind: _sum_units(parts(block, kind)[0].tensor.abs()))

    @torch.no_grad()
    def densities(self, scoring: Scoring) -> Scores:
        """Σ|w| over all the unit's tensors, biases included, per parameter."""
        return scoring.collect(lambda block, kind: _sum_parts(parts(block, kind), Tensor.abs) / scoring.parameters(kind))


class GroupMagnitude(Criterion):
    """L2 norm over all the unit's tensors, producer and consumer, biases included."""

    @torch.no_grad()
    def scores(self, scoring: Scoring) -> Scores:
        return scoring.collect(lambda block, kind: _sum_parts(parts(block, kind), Tensor.square).sqrt())

    @torch.no_grad()
    def densities(self, scoring: Scoring) -> Scores:
        """Squared norm per parameter."""
        return scoring.collect(lambda block, kind: _sum_parts(parts(block, kind), Tensor.square) / scoring.parameters(kind))


class Remaining(Criterion):
    """Σ|w| over those weights of the unit that survive unstructured pruning (Refill, arXiv 2202.04736, App. A2).

    Over the weight matrices (no biases) of alive units of the pruned kinds, one global |w| threshold keeps
    round((1 - p_s)·M), M = the number of such weights in the dense model.
    """

    @torch.no_grad()
    def scores(self, scoring: Scoring) -> Scores:
        threshold = self._threshold(scoring)
        return scoring.collect(
            lambda block, kind: _sum_parts(
                (part for part in parts(block, kind) if not part.bias), lambda w: self._value(w.abs(), threshold)
            )
        )

    def densities(self, scoring: Scoring) -> Scores:
        """The score per parameter."""
        scores = self.scores(scoring)
        return Scores(
            tuple(block / scoring.parameters("heads") for block in scores.heads),
            tuple(block / scoring.parameters("neurons") for block in scores.neurons),
        )

    def _value(self, magnitude: Tensor, threshold: float) -> Tensor:
        return magnitude * (magnitude >= threshold)

    def _threshold(self, scoring: Scoring) -> float:
        """The smallest |w| that survives."""
        weights = torch.cat(
            [
                part.tensor.abs().flatten()
                for block in scoring.model.blocks
                for kind in scoring.kinds
                for part in parts(block, kind)
                if not part.bias
            ]
        )
        survivors = min(self._survivors(scoring), len(weights))
        if survivors == 0:
            return float("inf")
        return weights.kthvalue(len(weights) - survivors + 1).values.item()

    def _survivors(self, scoring: Scoring) -> int:
        shape = scoring.shape
        weights = {
            "heads": shape.heads * 4 * shape.head_dim * shape.embed_dim,
            "neurons": shape.neurons * 2 * shape.embed_dim,
        }
        rates = {"heads": scoring.rate_heads, "neurons": scoring.rate_neurons}
        if len({rates[kind] for kind in scoring.kinds}) == 1:
            return number_kept(rates[scoring.kinds[0]], sum(weights[kind] for kind in scoring.kinds))
        return sum(number_kept(rates[kind], weights[kind]) for kind in scoring.kinds)


class RemainingCount(Remaining):
    """How many weights of the unit survive (see `Remaining`)."""

    def _value(self, magnitude: Tensor, threshold: float) -> Tensor:
        return (magnitude >= threshold).to(magnitude.dtype)


class Taylor(Criterion):
    """Mean over calibration batches of (Σ w·∂L/∂w)² over the unit, L the cross-entropy.

    Molchanov et al. 2019 (arXiv 1906.10771, eq. 8) for a group of weights; NViT (arXiv 2110.04869) uses it for ViTs.
    """

    def scores(self, scoring: Scoring) -> Scores:
        model = scoring.model
        weights = [weight for block in model.blocks for kind in KINDS for weight in _owned(block, kind)]
        training = model.training
        model.eval()
        total: Scores | None = None
        count = 0
        for images, labels in scoring.batches():
            loss = F.cross_entropy(model(images), labels)
            found = torch.autograd.grad(loss, weights, allow_unused=True)
            # An empty branch's weights take no part in the loss.
            gradients = {
                id(weight): torch.zeros_like(weight) if gradient is None else gradient
                for weight, gradient in zip(weights, found, strict=True)
            }
            batch = scoring.collect(partial(_taylor_block, gradients=gradients))
            total = batch if total is None else _add(total, batch)
            count += 1
        model.train(training)
        assert total is not None, "calibration gave no batch"
        return Scores(tuple(block / count for block in total.heads), tuple(block / count for block in total.neurons))

    def densities(self, scoring: Scoring) -> Scores:
        """Square root of the score, per parameter."""
        scores = self.scores(scoring)
        return Scores(
            tuple(block.sqrt() / scoring.parameters("heads") for block in scores.heads),
            tuple(block.sqrt() / scoring.parameters("neurons") for block in scores.neurons),
        )


def _owned(block: Block, kind: Kind) -> list[Tensor]:
    layers = (block.attn.qkv, block.attn.proj) if kind == "heads" else (block.mlp.fc1, block.mlp.fc2)
    return [layers[0].weight, layers[0].bias, layers[1].weight]


@torch.no_grad()
def _taylor_block(block: Block, kind: Kind, gradients: dict[int, Tensor]) -> Tensor:
    pairs = zip(parts(block, kind), parts(block, kind, gradients), strict=True)
    return torch.stack([_sum_units(weight.tensor * gradient.tensor) for weight, gradient in pairs]).sum(0).square()


def _add(left: Scores, right: Scores) -> Scores:
    return Scores(
        tuple(a + b for a, b in zip(left.heads, right.heads, strict=True)),
        tuple(a + b for a, b in zip(left.neurons, right.neurons, strict=True)),
    )


class Activation(Criterion):
    """Mean over calibration batches of |input of attn.proj| on the head's columns, |input of fc2| on the neuron's."""

    @torch.no_grad()
    def scores(self, scoring: Scoring) -> Scores:
        model = scoring.model
        sums: dict[tuple[int, Kind], Tensor] = {}
        counts = 0

        def record(key: tuple[int, Kind]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                mean = inputs[0].float().abs().flatten(0, -2).mean(0)
                sums[key] = sums[key] + mean if key in sums else mean

            return hook

        hooks = []
        for number, block in enumerate(model.blocks):
            hooks.append(block.attn.proj.register_forward_pre_hook(record((number, "heads"))))
            hooks.append(block.mlp.fc2.register_forward_pre_hook(record((number, "neurons"))))
        training = model.training
        model.eval()
        for images, _ in scoring.batches():
            model(images)
            counts += 1
        model.train(training)
        for hook in hooks:
            hook.remove()
        head_dim = scoring.shape.head_dim
        depth = len(model.blocks)
        return Scores(
            tuple((sums[b, "heads"] / counts).view(-1, head_dim).mean(1).cpu() for b in range(depth)),
            tuple((sums[b, "neurons"] / counts).cpu() for b in range(depth)),
        )

    def densities(self, scoring: Scoring) -> Scores:
        raise ValueError("activations of heads and neurons cannot be compared")  # refused when composing


class Random(Criterion):
    """Uniform in [0, 1), seeded by the run's seed and the state: the control."""

    def scores(self, scoring: Scoring) -> Scores:
        return scoring.collect(lambda block, kind: torch.rand(len(parts(block, kind)[0].tensor), generator=scoring.generator))

    def densities(self, scoring: Scoring) -> Scores:
        """As drawn."""
        return self.scores(scoring)
