"""How alike two models see images, block by block: linear CKA of a state with dense, and with what the state began from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.colors import Normalize
from torch import Tensor, nn

from prune.analysis.base import Analysis, Numbers, Shown, Subject
from prune.analysis.colours import DENSE, SHARE, block_name, block_ticks, colour_of, heading_of, now_label
from prune.analysis.places import INPUT, outputs_of
from prune.analysis.plots import heat
from prune.pruning.replay import block_modules
from prune.report.figures.style import SMALL, WIDE, Figure, canvas, heading, legend_below, render

BATCH = 128
"""Images that are compared with each other at once."""

FEWEST = 4
"""Images without which the unbiased estimate is not defined."""


class Similarity(Analysis):
    """Linear CKA, from unbiased estimates of HSIC averaged over batches (Nguyen et al. 2021, arXiv 2010.15327).

    An image's features are all numbers that a block gives for it. Layers are what the first block is given, then what each
    block gives.
    """

    title = "Similarity"
    most_images = 2000
    compares = ("dense", "before")

    def refuses(self, subject: Subject) -> str | None:
        if len(subject.images) < FEWEST:
            return f"{len(subject.images)} validation images are too few: an unbiased estimate takes {FEWEST}."
        return None

    def measure(self, subject: Subject) -> Numbers:
        models = {"now": subject.now.model}
        if subject.state:
            models |= {"dense": subject.dense.model, "before": subject.before.model}
        names = list(block_modules(subject.dense.model, subject.structure).values())
        layers = len(names) + 1
        total, batches = torch.zeros(layers * len(models), layers * len(models), dtype=torch.float64), 0
        for images, _ in subject.track(subject.images.batches(BATCH), subject.images.count(BATCH)):
            kernels = [kernel for model in models.values() for kernel in layer_kernels(model, names, images).values()]
            total += unbiased_hsic(torch.stack(kernels)).cpu()
            batches += 1
        similar = (total / batches / _outer_root(total / batches)).numpy()
        parts = {name: slice(index * layers, (index + 1) * layers) for index, name in enumerate(models)}
        numbers: Numbers = {"cka.now": similar[parts["now"], parts["now"]], "batches": batches}
        if subject.state:
            numbers["cka.dense"] = similar[parts["dense"], parts["dense"]]
            numbers["cka.dense_now"] = similar[parts["dense"], parts["now"]]
            numbers["cka.before_now"] = similar[parts["before"], parts["now"]]
        return numbers

    def show(self, subject: Subject, numbers: Numbers) -> Shown:
        if not subject.state:
            return Shown([_maps(subject, {"dense": numbers["cka.now"]})])
        maps = {"dense": numbers["cka.dense"], f"dense and {now_label(subject)}": numbers["cka.dense_now"]}
        along = np.diag(numbers["cka.dense_now"])[1:]
        worst = int(np.nanargmin(along))
        label = block_name(subject.structure, sorted({group.block for group in subject.structure.groups})[worst])
        return Shown(
            [_maps(subject, maps), _lines(subject, numbers)],
            [f"The block that is least like its dense self is {label} (CKA {along[worst]:.2f})."],
        )


@torch.no_grad()
def layer_kernels(model: nn.Module, blocks: list[str], images: Tensor) -> Mapping[str, Tensor]:
    """Layer → which images are how alike to it: X·Xᵀ of its centred features, (images, images), float64."""
    found: dict[str, Tensor] = {}

    def seen(name: str, given: Tensor) -> None:
        features = given.flatten(1).float()
        features = features - features.mean(0)  # changes no unbiased HSIC, and keeps the sums small
        found[name] = (features @ features.T).double()

    with outputs_of(model, blocks, seen):
        model(images)
    return {name: found[name] for name in (INPUT, *blocks)}


def unbiased_hsic(kernels: Tensor) -> Tensor:
    """HSIC₁ (Song et al. 2012, eq. 5) of each pair of kernels of the same images: (layers, n, n) → (layers, layers).

    With K̃ and L̃ the kernels without their diagonals:
    [tr(K̃L̃) + 1ᵀK̃1·1ᵀL̃1/((n - 1)(n - 2)) - 2·1ᵀK̃L̃1/(n - 2)] / (n(n - 3)).
    """
    n = kernels.shape[1]
    open_ = kernels * (1 - torch.eye(n, dtype=kernels.dtype, device=kernels.device))
    flat, rows = open_.flatten(1), open_.sum(2)
    sums = rows.sum(1)
    together = flat @ flat.T + torch.outer(sums, sums) / ((n - 1) * (n - 2)) - 2 * (rows @ rows.T) / (n - 2)
    return together / (n * (n - 3))


def _outer_root(hsic: Tensor) -> Tensor:
    """√(HSIC(K, K)·HSIC(L, L)); nan for a layer that gives all images the same."""
    own = hsic.diagonal().clamp_min(0).sqrt()
    own = torch.where(own > 0, own, torch.nan)
    return torch.outer(own, own)


def _layers(subject: Subject) -> list[str]:
    blocks = sorted({group.block for group in subject.structure.groups})
    return ["in", *(subject.structure.label(block) for block in blocks)]


def _maps(subject: Subject, maps: Mapping[str, np.ndarray]) -> Figure:
    figure = canvas((SMALL[0], 5.2) if len(maps) == 1 else (WIDE[0], 5.4))
    panels = figure.subplots(1, len(maps), squeeze=False)[0]
    labels = _layers(subject)
    for axes, (title, values) in zip(panels, maps.items(), strict=True):
        image = heat(axes, values, Normalize(0, 1), SHARE)
        other = now_label(subject) if axes is not panels[0] else "dense"
        axes.set(title=title, xlabel=f"layer of {other}", ylabel="layer of dense")
        block_ticks(axes, labels)
        block_ticks(axes, labels, "y")
    figure.colorbar(image, ax=list(panels), label="CKA", shrink=0.8, pad=0.015)
    heading(figure, heading_of(subject, "similarity of layers"))
    caption = (
        "Linear CKA of what two layers make of the same images: 1, the same up to rotation and scale; near 0, nothing that "
        "follows linearly. “in” is what the first block is given."
    )
    if len(maps) > 1:
        caption += (
            " Right: where the diagonal is bright, images are as alike after a block as in the dense model; CKA weighs what "
            "varies most, so decisive details may differ all the same."
        )
    return render(figure, "similarity-layers", "Similarity of layers", caption)


def _lines(subject: Subject, numbers: Numbers) -> Figure:
    figure = canvas(SMALL)
    axes = figure.subplots()
    series = (
        ("with dense", numbers["cka.dense_now"], DENSE, "s--"),
        (f"with the model that state {subject.state} began from", numbers["cka.before_now"], colour_of(subject), "o-"),
    )
    for label, values, colour, look in series:
        axes.plot(np.diag(values), look, color=colour, label=label)
    low = min(np.nanmin(np.diag(values)) for _, values, _, _ in series)
    axes.set(xlabel="layer", ylabel="CKA with the same layer", ylim=(min(0.0, low) if low < 0.5 else 0.45, 1.02))
    block_ticks(axes, _layers(subject))
    heading(figure, heading_of(subject, "similarity, layer by layer"))
    legend_below(figure, axes, columns=1)
    caption = (
        "CKA of each layer with the same layer of two other models. Where the line falls, blocks from there on see images in "
        "another way; training goes on between the models, so it is not the removal alone that tells them apart."
    )
    return render(figure, "similarity-blocks", "Similarity layer by layer", caption)
