"""Where each unit's tensors are: against indices written out one by one."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prune.architectures.group import Group, Member, Structure
from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet
from prune.pruning.slices import by_unit, slice_tensors, unit_slices
from tests.architectures.vits import (
    MICRO,
    TINY,
    Shape,
    build,
    cut,
    head_columns,
    head_rows,
    keep_set,
    masked,
    placed,
    random_units,
)

some = settings(derandomize=True, max_examples=15, deadline=None)


@pytest.mark.parametrize("shape", [MICRO, TINY])
@some
@given(seed=st.integers(0, 10_000))
def test_slices_of_a_dense_model_are_the_units_rows_and_columns(shape: Shape, seed: int) -> None:
    chosen = random_units(shape, seed)
    found = {
        units.member.tensor: (units.member.dim, units.index.tolist())
        for units in unit_slices(shape.structure, shape.dense, keep_set(chosen))
    }
    assert found == {name: (dim, index) for name, dim, index in placed(shape, chosen)}


@some
@given(seed=st.integers(0, 10_000))
def test_slices_of_a_compact_model_find_the_same_values(seed: int) -> None:
    """What is cut in two steps, dense → alive → chosen, is what is cut in one."""
    alive, second = random_units(MICRO, seed), random_units(MICRO, seed + 1)
    heads, neurons = (
        [sorted(set(a) & set(b)) for a, b in zip(have, want, strict=True)] for have, want in zip(alive, second, strict=True)
    )
    dense = {name: tensor.detach() for name, tensor in build(MICRO).named_parameters()}
    at_once, halfway = cut(dense, MICRO, (heads, neurons)), cut(dense, MICRO, alive)
    for units in unit_slices(MICRO.structure, keep_set(alive), keep_set((heads, neurons))):
        name = units.member.tensor
        assert torch.equal(units.of(halfway[name]), at_once[name])


def test_every_tensor_with_units_is_sliced_once() -> None:
    names = [units.member.tensor for units in unit_slices(MICRO.structure, MICRO.dense, MICRO.dense)]
    wanted = {
        name
        for name, _ in build(MICRO).named_parameters()
        if name.endswith(("qkv.weight", "qkv.bias", "proj.weight", "fc1.weight", "fc1.bias", "fc2.weight"))
        and name.startswith("blocks")
    }
    assert len(names) == len(set(names)) == 6 * MICRO.depth
    assert set(names) == wanted


@some
@given(seed=st.integers(0, 10_000))
def test_sliced_tensors_are_the_ones_cut_by_hand(seed: int) -> None:
    units = random_units(TINY, seed)
    dense = dict(build(TINY).state_dict())
    found, wanted = slice_tensors(dense, TINY.structure, TINY.dense, keep_set(units)), cut(dense, TINY, units)
    assert found.keys() == wanted.keys() == dense.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert all(found[name] is dense[name] for name in dense if not name.startswith("blocks."))


def test_tensors_that_are_not_there_are_passed_over() -> None:
    """An optimiser's state may lack a tensor whose gradient was never computed."""
    units = random_units(TINY, 2)
    dense = {name: tensor for name, tensor in build(TINY).state_dict().items() if ".attn." not in name}
    found, wanted = slice_tensors(dense, TINY.structure, TINY.dense, keep_set(units)), cut(dense, TINY, units)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    "units",
    [
        random_units(MICRO, 0),
        ([[7], [], [0, 4, 6]], [[1, 2, 3], [], [9]]),
        ([[], [], []], [[], [], []]),
        ([list(range(8))] * 3, [list(range(192))] * 3),
    ],
)
def test_a_masked_model_sliced_is_the_compact_one(units: tuple[list[list[int]], list[list[int]]]) -> None:
    small = build(MICRO)
    full = masked(small, MICRO, units).state_dict()
    compact(small, MICRO.architecture, MICRO.dense, keep_set(units))
    back = slice_tensors(full, MICRO.structure, MICRO.dense, keep_set(units))
    assert back.keys() == small.state_dict().keys()
    assert all(torch.equal(back[name], value) for name, value in small.state_dict().items())


def naive_entries(member: Member, alive: list[int], unit: int) -> list[int]:
    """Entries of one unit, by its original index, along the member's dimension: run after run, each with all that are alive."""
    entries = []
    position = 0
    for _ in range(member.repeats):
        for candidate in alive:
            for _ in range(member.lanes):
                if candidate == unit:
                    entries.append(position)
                position += 1
    return entries


MADE_UP = {
    "plain rows": (Member("w", 0, 1, "makes"), (5, 3)),
    "lanes": (Member("w", 1, 1, "reads", lanes=4), (3, 20)),
    "q, k and v": (Member("w", 0, 1, "makes", lanes=2, repeats=3), (30, 4)),
    "a gate and a value": (Member("w", 0, 1, "makes", repeats=2), (10, 4)),
    "the bias of both": (Member("w", 0, 1, "makes", repeats=2, matrix=False), (10,)),
    "the last of three dimensions": (Member("w", 2, 1, "between", lanes=3), (2, 4, 15)),
    "the middle of three dimensions": (Member("w", 1, 1, "between", lanes=2, repeats=2), (2, 20, 3)),
    "the last of three, repeated": (Member("w", 2, 1, "reads", repeats=2), (4, 1, 10)),
}
"""Members of a group of five units, and the sizes of their tensors."""


@pytest.fixture(params=MADE_UP)
def made_up(request: pytest.FixtureRequest) -> tuple[Member, Tensor]:
    """Every entry of the tensor is another number."""
    member, size = MADE_UP[request.param]
    return member, torch.arange(math.prod(size)).view(size)


def structure_of(*members: Member) -> Structure:
    return Structure((Group("block", "units", 0, count=5, macs=1, members=members),), fixed_parameters=0, fixed_macs=0)


@pytest.mark.parametrize(
    ("alive", "chosen"),
    [
        ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ([0, 1, 2, 3, 4], [1, 4]),
        ([0, 1, 2, 3, 4], []),
        ([0, 2, 4], [2]),
        ([1, 3], [1, 3]),
        ([], []),
    ],
)
def test_slices_of_made_up_members(made_up: tuple[Member, Tensor], alive: list[int], chosen: list[int]) -> None:
    member, tensor = made_up
    one_run = [naive_entries(member, alive, unit) for unit in chosen]
    # Run by run, within a run unit by unit.
    wanted = [
        entry
        for run in range(member.repeats)
        for entries in one_run
        for entry in entries[run * member.lanes : (run + 1) * member.lanes]
    ]
    keep = (KeepSet.from_lists({"block": units}) for units in (alive, chosen))
    (found,) = unit_slices(structure_of(member), *keep)
    assert found.member == member
    assert found.index.tolist() == wanted
    assert found.index.dtype == torch.int64
    present = tensor.narrow(member.dim, 0, member.repeats * member.lanes * len(alive))
    by_hand = torch.stack([present.select(member.dim, entry) for entry in wanted], member.dim) if wanted else None
    assert found.of(present).shape[member.dim] == len(wanted)
    assert by_hand is None or torch.equal(found.of(present), by_hand)


def test_the_units_of_made_up_members_come_first(made_up: tuple[Member, Tensor]) -> None:
    """[units, repeats, lanes, all other dimensions], each entry found by its index."""
    member, tensor = made_up
    others = [size for dim, size in enumerate(tensor.shape) if dim != member.dim]
    view = by_unit(tensor, member)
    assert view.shape == (5, member.repeats, member.lanes, *others)
    for unit in range(5):
        entries = iter(naive_entries(member, list(range(5)), unit))
        for repeat in range(member.repeats):
            for lane in range(member.lanes):
                assert torch.equal(view[unit, repeat, lane], tensor.select(member.dim, next(entries)))
    assert view.data_ptr() == tensor.data_ptr() and view.numel() == tensor.numel()


def test_no_units_come_first_where_there_are_none() -> None:
    member = Member("w", 1, 1, "reads", lanes=4, repeats=3)
    assert by_unit(torch.zeros(6, 0), member).shape == (0, 3, 4, 6)


def test_a_group_may_have_several_readers() -> None:
    """A unit that two layers read is sliced in both, in the order of the members."""
    members = (Member("a", 0, 1, "makes"), Member("b", 1, 2, "reads"), Member("c", 1, 3, "reads"))
    tensors = {"a": torch.arange(5), "b": torch.arange(10).view(2, 5), "c": torch.arange(15).view(3, 5)}
    structure = structure_of(*members)
    keep = KeepSet.from_lists({"block": [1, 2]})
    assert [units.member.tensor for units in unit_slices(structure, KeepSet.dense(structure), keep)] == ["a", "b", "c"]
    found = slice_tensors(tensors, structure, KeepSet.dense(structure), keep)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "a": [1, 2],
        "b": [[1, 2], [6, 7]],
        "c": [[1, 2], [6, 7], [11, 12]],
    }
    assert [member.tensor for member in structure.groups[0].readers] == ["b", "c"]


@pytest.mark.parametrize("shape", [MICRO, TINY])
def test_by_unit_holds_each_units_weights(shape: Shape) -> None:
    tensors = dict(build(shape).named_parameters())
    for group in shape.structure.groups:
        made, bias, read = (by_unit(tensors[member.tensor], member) for member in group.members)
        weight, vector, reader = (tensors[member.tensor] for member in group.members)
        for unit in range(group.count):
            rows = head_rows(shape, [unit]) if group.kind == "heads" else [unit]
            columns = head_columns(shape, [unit]) if group.kind == "heads" else [unit]
            assert torch.equal(made[unit].reshape(len(rows), -1), weight[rows])
            assert torch.equal(bias[unit].flatten(), vector[rows])
            assert torch.equal(read[unit].reshape(len(columns), -1), reader[:, columns].T)
    flags = [[(member.role, member.matrix) for member in group.members] for group in shape.structure.groups]
    assert flags == [[("makes", True), ("makes", False), ("reads", True)]] * 2 * shape.depth


def test_by_unit_is_a_view() -> None:
    model = build(TINY)
    before = copy.deepcopy(model)
    with torch.no_grad():
        for group in TINY.structure.groups:
            if group.block == 1:
                for member in group.members:
                    by_unit(model.get_parameter(member.tensor), member)[1] = 7.0
    block = model.blocks[1]
    assert (block.attn.qkv.weight[head_rows(TINY, [1])] == 7).all()
    assert (block.attn.qkv.bias[head_rows(TINY, [1])] == 7).all()
    assert (block.attn.proj.weight[:, head_columns(TINY, [1])] == 7).all()
    assert (block.mlp.fc1.weight[1] == 7).all()
    assert block.mlp.fc1.bias[1] == 7
    assert (block.mlp.fc2.weight[:, 1] == 7).all()
    old = dict(before.named_parameters())
    changed = sum(int((tensor != old[name]).sum()) for name, tensor in model.named_parameters())
    assert changed == TINY.head_parameters + TINY.neuron_parameters


def test_parts_add_up_to_the_parameters_of_one_unit_after_compaction() -> None:
    model = build(MICRO)
    keep = keep_set(([[1, 4], [], [0]], [[5, 6, 7], [191], []]))
    compact(model, MICRO.architecture, MICRO.dense, keep)
    counts = [2, 3, 0, 1, 1, 0]  # heads and neurons, block by block
    sizes = [MICRO.head_parameters, MICRO.neuron_parameters] * 3
    for group, count, size in zip(MICRO.structure.groups, counts, sizes, strict=True):
        parts = [by_unit(model.get_parameter(member.tensor), member) for member in group.members]
        assert {len(part) for part in parts} == {count}
        assert sum(part.numel() for part in parts) == count * size
