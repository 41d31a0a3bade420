"""Where heads look: their maps on sample images, how far and how widely they attend, and rollout through all blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor, nn

from prune.analysis.attention_figures import heads_figure, maps_figure, rollout_figure
from prune.analysis.base import Analysis, Numbers, Shown, Subject
from prune.architectures.attention import AttentionView

BATCH = 64

SAMPLES = 4
"""Images whose maps are kept, evenly spread over those that are looked at."""

Seen = Callable[[str, AttentionView, Tensor], object]


class Attention(Analysis):
    """Of each head, over all queries of all images: the mean distance in pixels, and the entropy, of what it attends to.

    Distances leave out tokens of no place (class tokens) as queries and as keys. Rollout multiplies (A + 1)/2 of all blocks,
    A the mean over a block's heads (Abnar & Zuidema 2020, arXiv 2005.00928).
    """

    title = "Attention"
    most_images = 1000
    compares = ("dense",)
    version = 2

    def refuses(self, subject: Subject) -> str | None:
        return None if subject.architecture.attention(subject.now.model) else subject.architecture.no_attention

    def measure(self, subject: Subject) -> Numbers:
        sampled = np.unique(np.linspace(0, len(subject.images) - 1, SAMPLES).round().astype(np.int64))
        images, _ = subject.images.some(torch.as_tensor(sampled))
        numbers: Numbers = {"sampled": sampled}
        for name, snapshot in {"dense": subject.dense, **({"now": subject.now} if subject.state else {})}.items():
            views = subject.architecture.attention(snapshot.model)
            for group, (distance, entropy) in spans(subject, snapshot.model, views).items():
                numbers[f"distance.{name}/{group}"], numbers[f"entropy.{name}/{group}"] = distance, entropy
                numbers[f"units.{name}/{group}"] = snapshot.keep[group].numpy()
            maps, followed = pictures(snapshot.model, views, images)
            numbers |= {f"maps.{name}/{group}": found for group, found in maps.items()}
            numbers |= {} if followed is None else {f"rollout.{name}": followed}
        return numbers

    def show(self, subject: Subject, numbers: Numbers) -> Shown:
        figures = [maps_figure(subject, numbers, sample) for sample in range(min(2, len(numbers["sampled"])))]
        figures += [rollout_figure(subject, numbers)] if "rollout.dense" in numbers else []
        return Shown([*figures, heads_figure(subject, numbers)], list(_sentences(subject, numbers)) if subject.state else [])


@contextmanager
def attending(model: nn.Module, views: Mapping[str, AttentionView], seen: Seen) -> Iterator[None]:
    """Within this context `seen(group, view, weights)` is told what each group of heads weighs by."""
    handles = [
        model.get_submodule(group).register_forward_pre_hook(_teller(group, view, seen), with_kwargs=True)
        for group, view in views.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _teller(group: str, view: AttentionView, seen: Seen) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    def hook(module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        seen(group, view, view.weights(module, given, keywords))

    return hook


@torch.no_grad()
def spans(subject: Subject, model: nn.Module, views: Mapping[str, AttentionView]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Group → mean distance (pixels) and mean entropy (nats) of each head."""
    sums: dict[str, Tensor] = {}
    samples = dict.fromkeys(views, 0)

    def seen(group: str, view: AttentionView, weights: Tensor) -> None:
        per_sample = torch.stack([distances(weights, view).mean(-1), entropies(weights).mean(-1)]).double()
        sums[group] = sums.get(group, 0) + per_sample.sum(1).cpu()
        samples[group] += len(weights)

    with attending(model, views, seen):
        for images, _ in subject.track(subject.images.batches(BATCH), subject.images.count(BATCH)):
            model(images)
    means = {group: (total / samples[group]).numpy() for group, total in sums.items()}
    return {group: (found[0], found[1]) for group, found in means.items()}


def distances(weights: Tensor, view: AttentionView) -> Tensor:
    """Of each query that has a place: the mean distance of the keys that have one, weighted: (samples, heads, queries)."""
    there = view.placed
    places = torch.tensor([view.places[number] for number in there], dtype=weights.dtype, device=weights.device)
    between = torch.linalg.vector_norm(places[:, None] - places[None], dim=-1)
    chosen = weights[:, :, there][..., there]
    return (chosen * between).sum(-1) / chosen.sum(-1).clamp_min(1e-12)


def entropies(weights: Tensor) -> Tensor:
    """Of each query: -Σ a·ln a over all keys: (samples, heads, queries)."""
    return -torch.special.xlogy(weights, weights).sum(-1)


@torch.no_grad()
def pictures(
    model: nn.Module, views: Mapping[str, AttentionView], images: Tensor
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Group → (images, heads, height, width): what the shown token, or those of a place on average, attend to; and rollout.

    Rollout is (images, height, width); None where blocks do not attend over the same tokens.
    """
    maps: dict[str, np.ndarray] = {}
    together: list[Tensor] = []

    def seen(group: str, view: AttentionView, weights: Tensor) -> None:
        maps[group] = view.picture(_shown(weights, view)).cpu().numpy()
        mean = weights.mean(1) if weights.shape[1] else torch.eye(weights.shape[-1]).to(weights).expand(len(weights), -1, -1)
        together.append(mean)

    with attending(model, views, seen):
        model(images)
    if not all(view.whole_image for view in views.values()):
        return maps, None
    view = next(iter(views.values()))
    followed = view.picture(_shown(rollout(together)[:, None], view))[:, 0]
    return maps, followed.cpu().numpy()


def _shown(weights: Tensor, view: AttentionView) -> Tensor:
    """Of the token that is shown, or of those of a place on average: (samples, heads, keys)."""
    return weights[:, :, view.placed].mean(2) if view.shown is None else weights[:, :, view.shown]


def rollout(blocks: list[Tensor]) -> Tensor:
    """The product of (A + 1)/2 of all blocks, the last leftmost: (images, queries, keys).

    Args:
        blocks: of each block, from the input on, its heads' mean weights: (images, queries, keys).
    """
    whole = torch.eye(blocks[0].shape[-1], dtype=blocks[0].dtype, device=blocks[0].device)
    product = whole.expand_as(blocks[0])
    for weights in blocks:
        product = (weights + whole) / 2 @ product
    return product


def _sentences(subject: Subject, numbers: Numbers) -> Iterator[str]:
    """How the dense heads that were kept and removed differ, if they do."""
    groups = [name.partition("/")[2] for name in numbers if name.startswith("distance.dense/")]
    stayed = np.concatenate([np.isin(numbers[f"units.dense/{g}"], numbers[f"units.now/{g}"]) for g in groups])
    if stayed.all() or not stayed.any():
        return
    for measure, unit in (("distance", "pixels"), ("entropy", "nats")):
        values = np.concatenate([numbers[f"{measure}.dense/{group}"] for group in groups])
        p = float(stats.mannwhitneyu(values[stayed], values[~stayed]).pvalue)
        verdict = "a difference beyond chance" if p <= 0.05 else "no difference beyond chance"
        yield (
            f"Mean {measure} of the dense heads: {np.mean(values[stayed]):.2f} {unit} of the {stayed.sum()} kept, "
            f"{np.mean(values[~stayed]):.2f} of the {(~stayed).sum()} removed: {verdict} (Mann–Whitney, p = {p:.2g})."
        )
