"""Plain ViTs: closed forms for parameters and multiply-accumulates, against counts on the model."""

from __future__ import annotations

import copy
import subprocess
import sys
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch.utils.flop_counter import FlopCounterMode

from prune.architectures.vit import ViT
from prune.pruning.compact import compact
from tests.architectures.vits import MICRO, SMALL, TINY, Shape, Units, build, keep_set, placed, random_units

ODD = Shape((16, 24), 8, channels=1, classes=3, embed_dim=20, depth=2, num_heads=5, mlp_hidden=31)
NO_CLASSES = Shape((8, 8), 4, channels=3, classes=0, embed_dim=8, depth=1, num_heads=2, mlp_hidden=9)
SHAPES = [SMALL, MICRO, TINY, ODD, NO_CLASSES]

Counts = dict[str, int]


@cache
def dense_model(shape: Shape) -> VisionTransformer:
    """The dense model without values: counting needs sizes only."""
    model = build(shape).to("meta")
    for block in model.blocks:
        block.attn.fused_attn = False  # the flop counter sees nothing of a fused kernel on the CPU
    return model


def compact_model(shape: Shape, units: tuple[Units, Units]) -> VisionTransformer:
    model = copy.deepcopy(dense_model(shape))
    compact(model, shape.architecture, shape.dense, keep_set(units))
    return model


def counted_parameters(model: VisionTransformer) -> tuple[Counts, int]:
    """(those of each branch's units, all others). A branch's output bias belongs to no unit."""
    branches = {f"blocks.{block}.{part}": 0 for block in range(len(model.blocks)) for part in ("attn", "mlp")}
    others = 0
    for name, parameter in model.named_parameters():
        branch = ".".join(name.split(".")[:3])
        if branch in branches and not name.endswith(("proj.bias", "fc2.bias")):
            branches[branch] += parameter.numel()
        else:
            others += parameter.numel()
    return branches, others


def counted_macs(model: VisionTransformer, shape: Shape) -> tuple[Counts, int]:
    """Half of torch's FLOPs of one image, (by branch, all others): a multiply-accumulate is two floating-point operations."""
    counter = FlopCounterMode(display=False)
    with counter:
        model(torch.empty((1, shape.channels, *shape.image_size), device="meta"))
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    names = [f"blocks.{block}.{part}" for block in range(shape.depth) for part in ("attn", "mlp")]
    branches = {name: flops.get(f"VisionTransformer.{name}", 0) for name in names}
    total = counter.get_total_flops()
    assert all(count % 2 == 0 for count in (total, *branches.values()))
    return {name: count // 2 for name, count in branches.items()}, (total - sum(branches.values())) // 2


def check_counts(shape: Shape, units: tuple[Units, Units]) -> None:
    model = compact_model(shape, units)
    structure, counts = shape.structure, keep_set(units).counts()
    parameters, macs = counted_parameters(model), counted_macs(model, shape)
    assert ({group.name: counts[group.name] * group.parameters for group in structure.groups}, structure.fixed_parameters) == (
        parameters
    )
    assert ({group.name: counts[group.name] * group.macs for group in structure.groups}, structure.fixed_macs) == macs
    assert structure.parameters(counts) == sum(parameter.numel() for parameter in model.parameters())
    assert structure.macs(counts) == sum(macs[0].values()) + macs[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_dense_counts_are_those_of_the_model(shape: Shape) -> None:
    model, structure = dense_model(shape), shape.structure
    (parameters, other_parameters), (macs, other_macs) = counted_parameters(model), counted_macs(model, shape)
    assert {group.name: group.count * group.parameters for group in structure.groups} == parameters
    assert {group.name: group.count * group.macs for group in structure.groups} == macs
    assert (structure.fixed_parameters, structure.fixed_macs) == (other_parameters, other_macs)
    assert structure.parameters() == sum(parameter.numel() for parameter in model.parameters())
    assert structure.macs() == sum(macs.values()) + other_macs


@pytest.mark.parametrize("shape", [MICRO, TINY, ODD, NO_CLASSES])
@settings(derandomize=True, max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_compact_counts_are_those_of_the_model(shape: Shape, seed: int) -> None:
    check_counts(shape, random_units(shape, seed))


@pytest.mark.parametrize("seed", [0, 1])
def test_compact_counts_of_vit_small(seed: int) -> None:
    check_counts(SMALL, random_units(SMALL, seed))


@settings(derandomize=True, max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), empty=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1))
def test_counts_of_blocks_without_heads_or_neurons(seed: int, empty: set[tuple[int, int]]) -> None:
    units = random_units(MICRO, seed)
    for block, kind in empty:
        units[kind][block].clear()
    check_counts(MICRO, units)


def test_vit_small_at_32_pixels() -> None:
    """The figures that the reference experiment should have printed."""
    structure = SMALL.structure
    output_biases = 12 * 384  # of the attention branches, and as many of the MLPs
    of_kind = structure.parameters_by_kind()
    assert (of_kind["heads"] + output_biases, of_kind["neurons"] + output_biases) == (7_096_320, 14_178_816)
    assert structure.parameters() == 21_342_346
    assert structure.macs() == 1_420_309_248
    assert structure.kinds == ("heads", "neurons")
    assert (structure.units("heads"), structure.units("neurons")) == (72, 18_432)
    assert {group.parameters for group in structure.of("heads")} == {98_496}
    assert {group.parameters for group in structure.of("neurons")} == {769}
    assert structure.even


@pytest.mark.parametrize("shape", SHAPES)
def test_one_unit_costs_its_parameters(shape: Shape) -> None:
    structure = shape.structure
    for group in structure.groups:
        one_less = {**structure.dense, group.name: group.count - 1}
        size = shape.head_parameters if group.kind == "heads" else shape.neuron_parameters
        assert structure.parameters() - structure.parameters(one_less) == size == group.parameters
        assert structure.macs() - structure.macs(one_less) == group.macs


@pytest.mark.parametrize("shape", SHAPES)
def test_members_are_the_tensors_of_the_model(shape: Shape) -> None:
    """Names, dimensions and sizes; together they hold every entry that the oracle gives to units, and no other."""
    model, structure = dense_model(shape), shape.structure
    found = {}
    for group in structure.groups:
        model.get_submodule(group.name)
        for member in group.members:
            tensor = model.get_parameter(member.tensor)
            assert tensor.shape[member.dim] == member.repeats * group.count * member.lanes
            assert tensor.numel() == group.count * member.size
            assert isinstance(model.get_submodule(member.module), torch.nn.Linear)
            assert member.matrix == (tensor.dim() == 2)
            found[member.tensor] = (member.dim, tensor.shape[member.dim])
        assert group.readers[-1].module == f"{group.name}.{'proj' if group.kind == 'heads' else 'fc2'}"
    everything = ([list(range(shape.num_heads))] * shape.depth, [list(range(shape.mlp_hidden))] * shape.depth)
    assert found == {name: (dim, len(index)) for name, dim, index in placed(shape, everything)}


def test_groups_follow_the_blocks() -> None:
    assert [(group.name, group.kind, group.block, group.count) for group in TINY.structure.groups] == [
        ("blocks.0.attn", "heads", 0, 3),
        ("blocks.0.mlp", "neurons", 0, 7),
        ("blocks.1.attn", "heads", 1, 3),
        ("blocks.1.mlp", "neurons", 1, 7),
        ("blocks.2.attn", "heads", 2, 3),
        ("blocks.2.mlp", "neurons", 2, 7),
    ]


def test_counts_need_no_torch() -> None:
    """Sweeps are planned on login nodes, where importing it takes longer than all the rest."""
    program = (
        "import sys; from prune.architectures.base import make_architecture; "
        f"sizes = {SMALL.architecture.options.model_dump()!r}; "
        "print(make_architecture(sizes, 32, 3, 10).structure.macs(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1420309248", "False"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_model_that_is_created_has_the_stated_sizes(shape: Shape) -> None:
    architecture = shape.architecture
    assert isinstance(architecture, ViT)
    with torch.device("meta"):
        created = architecture.create()
    wanted = {name: tensor.shape for name, tensor in dense_model(shape).state_dict().items()}
    assert {name: tensor.shape for name, tensor in created.state_dict().items()} == wanted
    architecture.check_model(created)
