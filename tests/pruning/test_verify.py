"""`verify` says nothing of a family that is described rightly, and names what is wrong of one that is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import pytest
import torch
from torch import nn

from prune.architectures.group import Group, Structure
from prune.architectures.vit import ViT
from prune.base.errors import UserError
from prune.pruning.verify import verify
from tests.architectures.vits import MICRO, TINY, Shape

SQUARE = Shape((8, 8), 4, channels=1, classes=3, embed_dim=12, depth=2, num_heads=3, mlp_hidden=12)
"""As many neurons as a token is wide, so that fc2's two dimensions cannot be told apart by their sizes."""


@pytest.mark.parametrize("shape", [MICRO, TINY, SQUARE])
def test_plain_vits_are_described_rightly(shape: Shape) -> None:
    assert verify(shape.architecture) == []


Change = Callable[[Group], Group]


def changed(change: Change) -> ViT:
    """A ViT whose second block's groups are described otherwise."""

    class Changed(ViT):
        @cached_property
        def structure(self) -> Structure:
            right = super().structure
            groups = tuple(change(group) if group.block == 1 else group for group in right.groups)
            # The total stays what it is: that alone would be noticed when the model is built.
            missing = right.parameters() - replace(right, groups=groups).parameters()
            return replace(right, groups=groups, fixed_parameters=right.fixed_parameters + missing)

    return Changed(SQUARE.architecture.options, SQUARE.image_size, SQUARE.channels, SQUARE.classes)


def of_member(ending: str, **values: object) -> Change:
    """The member whose tensor's name ends so, with other values."""

    def change(group: Group) -> Group:
        members = tuple(
            replace(member, **values) if member.tensor.endswith(ending) else member  # type: ignore[arg-type]
            for member in group.members
        )
        return replace(group, members=members)

    return change


def of_heads(**values: object) -> Change:
    return lambda group: replace(group, **values) if group.kind == "heads" else group  # type: ignore[arg-type]


def without_readers(group: Group) -> Group:
    members = tuple(replace(member, role="between") if member.role == "reads" else member for member in group.members)
    return replace(group, members=members)


WRONG: dict[str, tuple[Change, str]] = {
    "no reader": (without_readers, r"^blocks\.1\.attn has no member that reads its units$"),
    "a name": (of_member("proj.weight", tensor="blocks.1.attn.out.weight"), r"blocks\.1\.attn\.out\.weight is no parameter"),
    "lanes": (of_member("qkv.bias", lanes=2), r"qkv\.bias has 36 entries .* not 3 units × 2 lanes × 3 repeats"),
    "repeats": (of_member("fc1.weight", repeats=2), r"fc1\.weight has 12 entries .* not 12 units × 1 lanes × 2 repeats"),
    "a dimension of another size": (of_member("qkv.weight", dim=1), r"qkv\.weight has 12 entries along dimension 1"),
    "a unit's size": (
        of_member("fc2.weight", size=13),
        r"a unit has 12 parameters in blocks\.1\.mlp\.fc2\.weight, not 13",
    ),
    "MACs": (of_heads(macs=1000), r"dense: [\d,]+ MACs of one image, [\d,]+ by closed form"),
    "q, k and v of a head next to each other": (of_member("attn.qkv.weight", lanes=12, repeats=1), r"logits .* differ"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_is_named(fault: str) -> None:
    change, message = WRONG[fault]
    problems = verify(changed(change))
    assert problems
    assert all("\n" not in problem for problem in problems)
    assert any(re.search(message, problem) for problem in problems), problems


def test_a_model_with_other_parts_is_refused_as_when_a_run_starts() -> None:
    class Hidden(ViT):
        def create(self) -> nn.Module:
            model = super().create()
            model.register_parameter("temperature", nn.Parameter(torch.ones(3)))
            return model

    with pytest.raises(UserError, match="has parts that the pruner does not know"):
        verify(Hidden(SQUARE.architecture.options, SQUARE.image_size, SQUARE.channels, SQUARE.classes))
