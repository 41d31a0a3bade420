"""Keep sets: values that differ, nest, and go to files and back."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.pruning.keepset import KeepSet
from tests.architectures.vits import MICRO, SMALL, TINY, Shape, keep_set, others, random_units, units_of

some = settings(derandomize=True, max_examples=20, deadline=None)


@pytest.mark.parametrize("shape", [SMALL, MICRO, TINY])
def test_a_dense_keep_set_has_every_unit_of_every_group(shape: Shape) -> None:
    everything = KeepSet.dense(shape.structure)
    lists = everything.to_lists()
    assert list(lists) == [f"blocks.{block}.{part}" for block in range(shape.depth) for part in ("attn", "mlp")]
    assert units_of(everything) == (
        [list(range(shape.num_heads))] * shape.depth,
        [list(range(shape.mlp_hidden))] * shape.depth,
    )
    assert everything.counts() == shape.structure.dense


@some
@given(seed=st.integers(0, 10_000))
def test_without_is_the_set_difference(seed: int) -> None:
    kept = random_units(MICRO, seed)
    assert units_of(KeepSet.dense(MICRO.structure).without(keep_set(kept))) == others(MICRO, kept)


@some
@given(seed=st.integers(0, 10_000))
def test_without_of_nested_keep_sets(seed: int) -> None:
    """Original indices stay what they are: what goes from a pruned model is named as in the dense one."""
    alive = random_units(MICRO, seed)
    heads, neurons = ([block[::2] for block in blocks] for blocks in alive)
    gone = units_of(keep_set(alive).without(keep_set((heads, neurons))))
    assert gone == tuple([block[1::2] for block in blocks] for blocks in alive)
    assert all((indices.diff() > 0).all() for indices in keep_set(alive).without(keep_set((heads, neurons))).values())


def test_without_itself_nothing_is_left() -> None:
    keep = keep_set(random_units(TINY, 1))
    assert keep.without(keep).counts() == dict.fromkeys(TINY.structure.dense, 0)


def test_keep_sets_are_values() -> None:
    units = random_units(TINY, 3)
    one, other = keep_set(units), keep_set(units)
    assert one == other
    assert one != TINY.dense
    assert one != one.to_lists()
    assert one.counts() == {
        **{f"blocks.{block}.attn": len(heads) for block, heads in enumerate(units[0])},
        **{f"blocks.{block}.mlp": len(neurons) for block, neurons in enumerate(units[1])},
    }


@some
@given(seed=st.integers(0, 10_000))
def test_lists_go_to_files_and_back(seed: int) -> None:
    keep = keep_set(random_units(MICRO, seed))
    again = KeepSet.from_lists(json.loads(json.dumps(keep.to_lists())))
    assert again == keep
    assert list(again) == list(keep)
    assert {indices.dtype for indices in again.values()} == {torch.int64}


def test_an_empty_group_is_an_empty_tensor_of_indices() -> None:
    keep = KeepSet.from_lists({"blocks.0.attn": []})
    assert (keep["blocks.0.attn"].dtype, keep["blocks.0.attn"].shape) == (torch.int64, (0,))
    assert keep.counts() == {"blocks.0.attn": 0}


def test_a_keep_set_is_a_mapping_that_later_changes_do_not_reach() -> None:
    given_units = {"a": torch.tensor([0, 2])}
    keep = KeepSet(given_units)
    given_units["b"] = torch.tensor([1])
    assert list(keep) == ["a"] and len(keep) == 1 and "b" not in keep
    with pytest.raises(KeyError):
        keep["b"]
