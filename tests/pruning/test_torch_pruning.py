"""Against another library: torch-pruning finds the coupled tensors itself, by tracing the model's graph.

It compacts the same way, and its importances, used as criteria, find in a training run's model what they find in timm's own.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from prune.base.registries import CRITERIA
from prune.engine.epoch import EpochSums, train_epoch
from prune.engine.job import prepare
from prune.engine.run import step_hooks
from prune.engine.state import PruningState
from prune.engine.stop import Stop
from prune.pruning.compact import compact
from prune.pruning.criteria.base import Criterion, Scoring
from prune.pruning.ranking import Scores, choose
from prune.rundir.directory import RunDirectory
from tests.architectures.vits import (
    MICRO,
    SMALL,
    TINY,
    Shape,
    Units,
    batch,
    build,
    head_columns,
    keep_set,
    others,
    random_units,
)
from tests.conftest import Compose

# It says what it would do with the embeddings, which no unit touches.
pytestmark = pytest.mark.filterwarnings("ignore:Unwrapped parameters detected:UserWarning")


def prune_with_torch_pruning(model: VisionTransformer, shape: Shape, units: tuple[Units, Units]) -> None:
    """Tell it the columns of proj and the neurons of fc1 to remove; it works out q, k, v and fc2 from the graph."""
    for block in model.blocks:
        block.attn.fused_attn = False  # the tracer does not see through the fused kernel
    for block, heads, neurons in zip(model.blocks, *others(shape, units), strict=True):
        graph = tp.DependencyGraph().build_dependency(model, example_inputs=batch(shape, 1)[0])
        if heads:
            columns = head_columns(shape, heads)
            graph.get_pruning_group(block.attn.proj, tp.prune_linear_in_channels, idxs=columns).prune()
            block.attn.num_heads = shape.num_heads - len(heads)
            block.attn.attn_dim = block.attn.num_heads * shape.head_dim
        if neurons:
            graph.get_pruning_group(block.mlp.fc1, tp.prune_linear_out_channels, idxs=neurons).prune()


@pytest.mark.parametrize(("shape", "seed"), [(MICRO, 0), (MICRO, 1), (TINY, 2), (SMALL, 0)])
def test_the_same_units_give_the_same_model(shape: Shape, seed: int) -> None:
    if shape is SMALL:  # twelve blocks are slow to trace and show nothing that four do not
        shape = replace(SMALL, depth=4)
    ours, theirs = build(shape), build(shape)
    units = random_units(shape, seed)
    compact(ours, shape.architecture, shape.dense, keep_set(units))
    prune_with_torch_pruning(theirs, shape, units)

    left, right = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name

    images = batch(shape, 4)[0]
    with torch.no_grad():
        expected, found = theirs(images), ours(images)
    # Fused and unfused attention add in another order: a few float32 roundings of the logits' scale.
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert not torch.allclose(found, copy.deepcopy(build(shape))(images).detach(), rtol=1e-2)  # something was removed


def importances(model: VisionTransformer, importance: Any, data: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """torch-pruning's score of every head and neuron, from the groups that its tracer finds; the model stays as it was."""
    fused, training = [block.attn.fused_attn for block in model.blocks], model.training
    model.eval()
    for block in model.blocks:
        block.attn.fused_attn = False
    for images, labels in data:
        F.cross_entropy(model(images), labels).backward()  # Taylor's needs gradients
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=data[0][0][:1])
    found = {}
    for number, block in enumerate(model.blocks):
        heads, lanes = block.attn.num_heads, list(range(block.attn.proj.in_features))
        group = graph.get_pruning_group(block.attn.proj, tp.prune_linear_in_channels, idxs=lanes)
        found[f"blocks.{number}.attn"] = importance(group).view(heads, -1).mean(1)
        rows = list(range(block.mlp.fc1.out_features))
        group = graph.get_pruning_group(block.mlp.fc1, tp.prune_linear_out_channels, idxs=rows)
        found[f"blocks.{number}.mlp"] = importance(group)
    for block, was_fused in zip(model.blocks, fused, strict=True):
        block.attn.fused_attn = was_fused
    model.train(training)
    model.zero_grad(set_to_none=True)
    return {name: score.detach() for name, score in found.items()}


class TheirMagnitude(Criterion):
    """A criterion as another package would add it, one that traces the model it is given."""

    importance: ClassVar[type] = tp.importance.GroupMagnitudeImportance
    seen: ClassVar[list[tuple[dict[str, Tensor], Scores, list[tuple[Tensor, Tensor]]]]] = []

    def scores(self, scoring: Scoring) -> Scores:
        model: Any = scoring.model
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        data = list(scoring.batches())
        found = importances(model, self.importance(), data)
        self.seen.append((weights, found, data))
        return found

    def densities(self, scoring: Scoring) -> Scores:
        return scoring.per_cost(self.scores(scoring))


class TheirTaylor(TheirMagnitude):
    importance = tp.importance.GroupTaylorImportance


RUN = Shape((8, 8), 4, channels=1, classes=10, embed_dim=16, depth=2, num_heads=4, mlp_hidden=32)
"""The model of the tiny runs, but for its pooling, which has no units."""


def train_steps(state: PruningState, method: Any) -> None:
    """One epoch, as the loop trains it: fast paths are installed for each step's forward and backward pass."""
    state.start()
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    with state.fast_paths.installed():
        assert any(type(module).__module__.startswith("prune.") for module in state.model.modules())
    train_epoch(
        state, step_hooks(method, state), 0, 0, EpochSums.empty(state.loader.steps_per_epoch, state.device), lambda done: None
    )
    assert not any(torch.equal(tensor, before[name]) for name, tensor in state.tensors().items() if ".weight" in name)


@pytest.mark.parametrize("criterion", [TheirMagnitude, TheirTaylor])
@pytest.mark.parametrize(
    "units", [None, ([[1, 3], [0, 1, 2]], [list(range(3, 30)), list(range(1, 32, 2))])], ids=["dense", "compact"]
)
def test_its_importances_are_those_of_a_plain_model(
    compose_tiny: Compose, tmp_path: Path, criterion: type[TheirMagnitude], units: tuple[Units, Units] | None
) -> None:
    """A plain timm model of the same weights, which this package has never touched, has the same scores, bit for bit."""
    CRITERIA.table["theirs"] = f"{__name__}:{criterion.__name__}"
    criterion.seen.clear()
    config = compose_tiny("method=refill", "method.criterion=theirs", "method.calibration_batches=2")
    job = prepare(config, RunDirectory(tmp_path), Stop(), threads=1)
    # timm starts biases and the classifier's rows alike; every tensor is random here.
    dense: Any = job.architecture.create()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    state = job.state(1, dense, RUN.dense)
    if units is not None:
        state.remove(keep_set(units))
    train_steps(state, job.method)
    keep = state.choose(state.score())

    ((weights, found, data),) = criterion.seen
    assert all(torch.equal(tensor, weights[name]) for name, tensor in state.tensors().items())
    plain: Any = job.architecture.create()
    if units is not None:
        prune_with_torch_pruning(plain, RUN, units)
    plain.load_state_dict(weights)
    expected = importances(plain, criterion.importance(), data)
    assert found.keys() == expected.keys() == state.alive.keys()
    for name, score in found.items():
        assert score.shape == state.alive[name].shape
        assert torch.equal(score, expected[name]), name
        assert score.min() < score.max()
    assert keep == choose(expected, state.alive, state.structure, state.budget)
    for part in ("attn", "mlp"):
        assert sum(len(keep[f"blocks.{block}.{part}"]) for block in range(2)) < sum(
            len(state.alive[f"blocks.{block}.{part}"]) for block in range(2)
        )
