"""Torch-Pruning's importances on our groups, against sums over single weights and against groups that it has traced itself."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest
import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from prune.base.errors import UserError
from prune.pruning.criteria.base import Scoring
from prune.pruning.criteria.torch_pruning import FPGM, LAMP, GroupHessian, GroupMagnitude, GroupTaylor, Importance
from prune.pruning.keepset import KeepSet
from tests.architectures import mambas, swins
from tests.architectures.vits import TINY, batch, build
from tests.conftest import Compose
from tests.pruning.criteria.oracle import KINDS, MATRICES, batches, check, group, places, scores, scoring

FLOAT32 = (1e-4, 1e-6)
"""It adds up in float32."""

ALL: tuple[type[Importance], ...] = (FPGM, GroupHessian, LAMP, GroupMagnitude, GroupTaylor)


def relative(value: Callable[[int, str, int], float], keep: KeepSet) -> Callable[[int, str, int], float]:
    """A unit's sum, relative to the mean of its group's units: all channels of a unit count alike in both."""
    return lambda block, kind, unit: (
        value(block, kind, unit) / fmean(value(block, kind, other) for other in range(len(keep[group(block, kind)])))
    )


def summed(model: VisionTransformer, terms: dict[str, torch.Tensor]) -> Callable[[int, str, int], float]:
    """Σ over a unit's weight matrices, weight by weight, of terms given by tensor."""

    def value(block: int, kind: str, unit: int) -> float:
        found = places(model, block, kind, unit)
        return sum(float(terms[name][index].sum()) for role in MATRICES for name, index in found[role])

    return value


def gradients(model: VisionTransformer, data: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
    names, weights = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(F.cross_entropy(model(data[0]), data[1]), weights, allow_unused=True)
    return {n: torch.zeros_like(w) if g is None else g for n, w, g in zip(names, weights, found, strict=True)}


def test_magnitude(model: VisionTransformer, keep: KeepSet) -> None:
    terms = {name: weight.detach().square() for name, weight in model.named_parameters()}
    check(scores("tp_magnitude", model), keep, relative(summed(model, terms), keep), FLOAT32)


def test_taylor(model: VisionTransformer, keep: KeepSet) -> None:
    data = batches()
    found = [gradients(model, one) for one in data]
    terms = {n: (w.detach() * sum(of[n] for of in found)).abs() for n, w in model.named_parameters()}
    check(scores("tp_taylor", model, data=data), keep, relative(summed(model, terms), keep), FLOAT32)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_hessian(model: VisionTransformer, keep: KeepSet) -> None:
    data = batches(2)
    found = [gradients(model, (x[i : i + 1], y[i : i + 1])) for x, y in data for i in range(len(y))]
    squares = {n: sum(of[n].square() for of in found) / len(found) for n in found[0]}
    terms = {n: w.detach().square() * squares[n] for n, w in model.named_parameters()}
    check(scores("tp_hessian", model, data=data), keep, relative(summed(model, terms), keep), FLOAT32)


@pytest.mark.parametrize("criterion", [FPGM, LAMP, GroupMagnitude, GroupTaylor])
def test_as_of_a_group_that_it_has_traced(criterion: type[Importance]) -> None:
    """Of a whole model: what its dependency graph finds for each block's heads and neurons, given to the same importance."""
    model, data = build(TINY), [batch(TINY, 5)]
    ours = criterion().scores(scoring(model, data=data))
    for block in model.blocks:
        block.attn.fused_attn = False  # its tracer does not see through the fused kernel
    F.cross_entropy(model(data[0][0]), data[0][1]).backward()
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=data[0][0][:1])
    importance = getattr(tp.importance, criterion.importance)()
    for number, block in enumerate(model.blocks):
        readers: tuple[Any, ...] = (block.attn.proj, block.mlp.fc2)
        for kind, reader in zip(KINDS, readers, strict=True):
            traced = graph.get_pruning_group(reader, tp.prune_linear_in_channels, list(range(reader.in_features)))
            found = ours[group(number, kind)]
            expected = importance(traced).view(len(found), -1).mean(1)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
            assert found.min() < found.max()


@pytest.mark.parametrize("criterion", ALL)
def test_swin_and_mamba(criterion: type[Importance]) -> None:
    """Other families have scores as well; magnitude is that of their layers' weights, entry by entry."""
    swin: tuple[Any, ...] = (swins.build(swins.SHIFTED), swins.SHIFTED.architecture.structure, swins.batch(swins.SHIFTED, 2))
    mamba: tuple[Any, ...] = (mambas.build(mambas.HYBRID), mambas.architecture(mambas.HYBRID).structure, mambas.batch(2))
    for model, structure, data in (swin, mamba):
        found = criterion().scores(
            Scoring(model, model, structure, {}, structure.kinds, lambda data=data: [data], torch.Generator())
        )
        for one in structure.groups:
            assert found[one.name].shape == (one.count,)
            assert found[one.name].isfinite().all() and (found[one.name] >= 0).all()
            if criterion is GroupMagnitude:
                weights = [m for m in one.members if m.tensor.endswith(".weight")]
                parts = [_rows(model.get_parameter(m.tensor), m, one.count) for m in weights]
                expected = torch.tensor([sum(float(part[unit].square().sum()) for part in parts) for unit in range(one.count)])
                torch.testing.assert_close(found[one.name], expected / expected.mean(), rtol=1e-4, atol=1e-6)


def _rows(tensor: torch.Tensor, member: Any, units: int) -> list[torch.Tensor]:
    """A unit's entries of a tensor, gathered index by index."""

    def entries(unit: int) -> list[int]:
        return [(r * units + unit) * member.lanes + lane for r in range(member.repeats) for lane in range(member.lanes)]

    return [tensor.detach().index_select(member.dim, torch.tensor(entries(unit))) for unit in range(units)]


def test_without_the_extra_one_sentence_names_it(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^method.criterion=tp_lamp needs torch-pruning; install it with: pip install 'vit-"):
        compose("method.criterion=tp_lamp")


def test_there_are_no_densities(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"method.criterion=tp_taylor cannot be compared between kinds"):
        compose("method.criterion=tp_taylor", "method.pools=joint")
