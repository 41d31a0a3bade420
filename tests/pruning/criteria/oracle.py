"""Running a criterion on a small model, and each unit's weights found one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from prune.base.registries import CRITERIA
from prune.base.seeding import generator
from prune.pruning.criteria.base import Scoring
from prune.pruning.keepset import KeepSet
from prune.pruning.ranking import Scores
from tests.architectures.vits import TINY, Shape, batch

KINDS = ("heads", "neurons")
MODULES = {"heads": "attn", "neurons": "mlp"}

EXACT = (1e-9, 1e-12)
"""Relative and absolute tolerance. Everything is computed in float64, so only the order of sums can differ."""


def group(block: int, kind: str) -> str:
    return f"blocks.{block}.{MODULES[kind]}"


def batches(count: int = 3) -> list[tuple[Tensor, Tensor]]:
    return [batch(TINY, 5, seed=seed, dtype=torch.float64) for seed in range(count)]


def scoring(
    model: VisionTransformer,
    rate: float | dict[str, float] = 0.5,
    kinds: tuple[str, ...] = KINDS,
    data: Sequence[tuple[Tensor, Tensor]] = (),
    state: int = 1,
    shape: Shape = TINY,
) -> Scoring:
    return Scoring(
        model=model,
        logits=model,
        structure=shape.structure,
        rates=rate if isinstance(rate, dict) else dict.fromkeys(KINDS, rate),
        kinds=kinds,
        batches=lambda: iter(data),
        generator=generator(0, "criterion", state),
    )


def scores(name: str, *arguments: object, **options: object) -> Scores:
    return CRITERIA.load(name)().scores(scoring(*arguments, **options))  # type: ignore[arg-type]


def densities(name: str, *arguments: object, **options: object) -> Scores:
    return CRITERIA.load(name)().densities(scoring(*arguments, **options))  # type: ignore[arg-type]


Place = tuple[str, tuple[int | slice, ...]]


def places(model: VisionTransformer, block: int, kind: str, unit: int) -> dict[str, list[Place]]:
    """(tensor name, index) of the `unit`-th alive unit's weights, by role."""
    prefix = f"blocks.{block}"
    if kind == "neurons":
        return {
            "producer": [(f"{prefix}.mlp.fc1.weight", (unit,))],
            "bias": [(f"{prefix}.mlp.fc1.bias", (unit,))],
            "consumer": [(f"{prefix}.mlp.fc2.weight", (slice(None), unit))],
        }
    width = TINY.embed_dim // TINY.num_heads
    heads = model.blocks[block].attn.qkv.weight.shape[0] // (3 * width)
    rows = [part * heads * width + unit * width + lane for part in range(3) for lane in range(width)]
    return {
        "producer": [(f"{prefix}.attn.qkv.weight", (row,)) for row in rows],
        "bias": [(f"{prefix}.attn.qkv.bias", (row,)) for row in rows],
        "consumer": [(f"{prefix}.attn.proj.weight", (slice(None), unit * width + lane)) for lane in range(width)],
    }


def numbers(model: VisionTransformer, block: int, kind: str, unit: int, *roles: str) -> list[float]:
    """All weights of a unit in these roles, one by one."""
    tensors = dict(model.named_parameters())
    found = places(model, block, kind, unit)
    return [
        value for role in roles for name, index in found[role] for value in tensors[name].detach()[index].flatten().tolist()
    ]


def check(
    found: Scores, keep: KeepSet, expected: Callable[[int, str, int], float], tolerance: tuple[float, float] = EXACT
) -> None:
    """Every score is what `expected(block, kind, unit)` says; and there are some."""
    assert set(found) == set(keep)
    compared, (relative, absolute) = 0, tolerance
    for kind in KINDS:
        for block in range(TINY.depth):
            vector, alive = found[group(block, kind)], keep[group(block, kind)]
            assert vector.shape == alive.shape
            assert (vector >= 0).all()
            wanted = torch.tensor([expected(block, kind, unit) for unit in range(len(alive))], dtype=torch.float64)
            torch.testing.assert_close(vector.double(), wanted, rtol=relative, atol=absolute)
            compared += len(alive)
    assert compared > 5


MATRICES = ("producer", "consumer")
EVERYTHING = ("producer", "bias", "consumer")


def size(kind: str) -> int:
    return TINY.head_parameters if kind == "heads" else TINY.neuron_parameters
