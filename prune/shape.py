"""Closed forms for a ViT's size: units, parameters and multiply-accumulates, dense or pruned. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Parts:
    """A count split by where it arises: attention, MLPs, and all the rest (embeddings, norms, classifier)."""

    attention: int
    mlp: int
    other: int

    @property
    def total(self) -> int:
        return self.attention + self.mlp + self.other


@dataclass(frozen=True)
class ViTShape:
    """The sizes that fix a plain timm ViT: biases everywhere, no layer scale, no norm inside attention or MLP.

    `image_size` is (height, width) in pixels; `mlp_hidden` is the neurons of one block before pruning.
    """

    image_size: tuple[int, int]
    patch_size: int
    channels: int
    classes: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_hidden: int
    class_token: bool = True

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    @property
    def patches(self) -> int:
        height, width = self.image_size
        return (height // self.patch_size) * (width // self.patch_size)

    @property
    def tokens(self) -> int:
        return self.patches + self.class_token

    @property
    def heads(self) -> int:
        """Heads of the whole dense model."""
        return self.depth * self.num_heads

    @property
    def neurons(self) -> int:
        """Neurons of the whole dense model."""
        return self.depth * self.mlp_hidden

    @property
    def head_parameters(self) -> int:
        """Parameters that go with one head: 3·d_head rows of qkv (with bias) and d_head columns of proj."""
        return self.head_dim * (4 * self.embed_dim + 3)

    @property
    def neuron_parameters(self) -> int:
        """Parameters that go with one neuron: a row of fc1 (with bias) and a column of fc2."""
        return 2 * self.embed_dim + 1

    def parameters(self, heads: Sequence[int] | None = None, neurons: Sequence[int] | None = None) -> Parts:
        """Parameters of the model that keeps `heads[l]` heads and `neurons[l]` neurons in block l (default: all)."""
        kept_heads, kept_neurons = self._kept(heads, neurons)
        dim = self.embed_dim
        patch_embed = self.channels * self.patch_size**2 * dim + dim
        embeddings = patch_embed + self.tokens * dim + self.class_token * dim
        norms = (2 * self.depth + 1) * 2 * dim
        classifier = dim * self.classes + self.classes
        return Parts(
            attention=sum(kept_heads) * self.head_parameters + self.depth * dim,
            mlp=sum(kept_neurons) * self.neuron_parameters + self.depth * dim,
            other=embeddings + norms + classifier,
        )

    def macs(self, heads: Sequence[int] | None = None, neurons: Sequence[int] | None = None) -> Parts:
        """Multiply-accumulates of one image's forward pass: every matrix product, attention's two included.

        One MAC is two FLOPs; biases, norms, softmax and activations are not counted.
        """
        kept_heads, kept_neurons = self._kept(heads, neurons)
        dim, tokens = self.embed_dim, self.tokens
        per_head = tokens * self.head_dim * (4 * dim + 2 * tokens)
        return Parts(
            attention=sum(kept_heads) * per_head,
            mlp=sum(kept_neurons) * tokens * 2 * dim,
            other=self.patches * self.channels * self.patch_size**2 * dim + dim * self.classes,
        )

    def _kept(self, heads: Sequence[int] | None, neurons: Sequence[int] | None) -> tuple[Sequence[int], Sequence[int]]:
        return (
            [self.num_heads] * self.depth if heads is None else heads,
            [self.mlp_hidden] * self.depth if neurons is None else neurons,
        )
