"""Counts of groups and structures, against loops over single units."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.architectures.group import Group, Member, Structure

some = settings(derandomize=True, max_examples=60, deadline=None)

KINDS = ("heads", "channels", "neurons")


def make_group(block: int, kind: str, count: int, sizes: list[int], macs: int) -> Group:
    """A group whose members have these sizes; every other one is a bias."""
    members = tuple(
        Member(f"{block}.{kind}.{number}.w", 0, size, "makes", matrix=number % 2 == 0) for number, size in enumerate(sizes)
    )
    return Group(f"{block}.{kind}", kind, block, count, macs, members)


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    """Blocks of different widths and costs; a kind may be missing from a block."""
    groups = [
        make_group(
            block,
            kind,
            count=draw(st.integers(1, 20)),
            sizes=draw(st.lists(st.integers(1, 30), min_size=1, max_size=4)),
            macs=draw(st.integers(0, 100)),
        )
        for block in range(draw(st.integers(1, 4)))
        for kind in KINDS
        if draw(st.booleans())
    ]
    return Structure(tuple(groups), draw(st.integers(0, 1000)), draw(st.integers(0, 1000)))


@st.composite
def structures_and_counts(draw: st.DrawFn) -> tuple[Structure, dict[str, int]]:
    structure = draw(structures())
    return structure, {group.name: draw(st.integers(0, group.count)) for group in structure.groups}


@some
@given(structures_and_counts())
def test_counts_are_sums_over_units(problem: tuple[Structure, dict[str, int]]) -> None:
    structure, counts = problem
    units = [group for group in structure.groups for _ in range(counts[group.name])]  # one entry a unit
    sizes = [sum(member.size for member in group.members) for group in units]
    assert structure.parameters(counts) == structure.fixed_parameters + sum(sizes)
    assert structure.macs(counts) == structure.fixed_macs + sum(group.macs for group in units)
    for kind in structure.kinds:
        of_kind = [number for number, group in enumerate(units) if group.kind == kind]
        assert structure.by_kind(counts)[kind] == len(of_kind)
        assert structure.parameters_by_kind(counts)[kind] == sum(sizes[number] for number in of_kind)
        assert structure.macs_by_kind(counts)[kind] == sum(units[number].macs for number in of_kind)
    assert set(structure.by_kind(counts)) == {group.kind for group in structure.groups}


@some
@given(structures())
def test_without_counts_it_is_the_dense_model(structure: Structure) -> None:
    assert structure.dense == {group.name: group.count for group in structure.groups}
    assert structure.parameters() == structure.parameters(structure.dense)
    assert structure.macs() == structure.macs(structure.dense)
    assert structure.parameters_by_kind() == structure.parameters_by_kind(structure.dense)
    assert structure.macs_by_kind() == structure.macs_by_kind(structure.dense)
    assert structure.by_kind(structure.dense) == {kind: structure.units(kind) for kind in structure.kinds}
    assert structure.parameters(dict.fromkeys(structure.dense, 0)) == structure.fixed_parameters
    assert structure.macs(dict.fromkeys(structure.dense, 0)) == structure.fixed_macs


@some
@given(structures())
def test_the_groups_of_a_kind_come_in_the_order_of_the_blocks(structure: Structure) -> None:
    for kind in structure.kinds:
        blocks = [group.block for group in structure.of(kind)]
        assert blocks == sorted(blocks)
    assert sorted(group.name for kind in structure.kinds for group in structure.of(kind)) == sorted(structure.dense)
    assert structure.of("nothing of the kind") == ()


@some
@given(structures(), st.data())
def test_usual_counts_are_the_average_unit_rounded_down(structure: Structure, data: st.DataObject) -> None:
    macs = structure.fixed_macs
    kept = {kind: data.draw(st.integers(0, structure.units(kind))) for kind in structure.kinds}
    for kind, units in kept.items():
        groups, total = structure.of(kind), structure.units(kind)
        parameters = Fraction(sum(group.count * group.parameters for group in groups), total) * units
        assert structure.usual_parameters(kind, units) == parameters.__floor__()
        macs += (Fraction(sum(group.count * group.macs for group in groups), total) * units).__floor__()
    assert structure.usual_macs(kept) == macs


@some
@given(st.integers(1, 5), st.integers(1, 50), st.integers(0, 200), st.data())
def test_usual_counts_are_exact_where_all_units_cost_the_same(depth: int, size: int, macs: int, data: st.DataObject) -> None:
    widths = [data.draw(st.integers(1, 20)) for _ in range(depth)]
    structure = Structure(
        tuple(make_group(block, "neurons", width, [size, 1], macs) for block, width in enumerate(widths)), 7, 9
    )
    counts = {group.name: data.draw(st.integers(0, group.count)) for group in structure.groups}
    kept = structure.by_kind(counts)
    assert structure.even
    assert structure.fixed_parameters + structure.usual_parameters("neurons", kept["neurons"]) == structure.parameters(counts)
    assert structure.usual_macs(kept) == structure.macs(counts)


@pytest.mark.parametrize(
    ("second", "even"),
    [
        (make_group(1, "neurons", 9, [3, 1], 5), True),  # the number of units may differ
        (make_group(1, "neurons", 4, [2, 2], 5), True),  # and how a unit's parameters are split
        (make_group(1, "neurons", 4, [3, 2], 5), False),
        (make_group(1, "neurons", 4, [3, 1], 6), False),
        (make_group(1, "heads", 4, [30, 10], 60), True),  # another kind
    ],
)
def test_even_means_that_all_units_of_a_kind_cost_the_same(second: Group, even: bool) -> None:
    assert Structure((make_group(0, "neurons", 4, [3, 1], 5), second), 0, 0).even is even


def test_kinds_are_in_the_order_of_their_first_appearance() -> None:
    order = [(0, "neurons"), (0, "heads"), (1, "channels"), (1, "neurons")]
    groups = tuple(make_group(block, kind, 2, [1], 1) for block, kind in order)
    assert Structure(groups, 0, 0).kinds == ("neurons", "heads", "channels")


def test_what_a_group_says_of_one_unit() -> None:
    group = Group(
        "mixer", "channels", 2, count=6, macs=11,
        members=(
            Member("mixer.in.weight", 0, 20, "makes", repeats=2),
            Member("mixer.in.bias", 0, 2, "makes", repeats=2, matrix=False),
            Member("mixer.table", 1, 5, "between", matrix=False),
            Member("mixer.gate.weight", 1, 30, "reads"),
            Member("mixer.out.weight", 1, 10, "reads"),
        ),
    )  # fmt: skip
    assert (group.parameters, group.weights) == (67, 60)
    assert [member.tensor for member in group.readers] == ["mixer.gate.weight", "mixer.out.weight"]
    assert [member.module for member in group.members] == ["mixer.in", "mixer.in", "mixer", "mixer.gate", "mixer.out"]
    assert Member("scale", 0, 1, "makes").module == ""


def test_a_block_is_called_by_its_label_or_its_number() -> None:
    groups = tuple(make_group(block, "heads", 2, [1], 1) for block in range(2))
    assert [Structure(groups, 0, 0).label(block) for block in range(2)] == ["0", "1"]
    assert Structure(groups, 0, 0, ("stem", "trunk")).label(1) == "trunk"
