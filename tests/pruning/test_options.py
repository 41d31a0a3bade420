"""What `method` says, whichever it is."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from prune.architectures.group import Group, Structure
from prune.pruning.options import MethodOptions


def options(**keys: object) -> MethodOptions:
    return MethodOptions.model_validate({"name": "any", **keys})


@pytest.mark.parametrize(
    ("rewind", "epoch", "point"),
    [
        ("none", None, None),
        ("init", None, "init"),
        ("epoch:0", 0, "epoch-000"),
        ("epoch:3", 3, "epoch-003"),
        ("epoch:1200", 1200, "epoch-1200"),
    ],
)
def test_the_point_to_rewind_to(rewind: str, epoch: int | None, point: str | None) -> None:
    found = options(rewind=rewind)
    assert (found.rewind_epoch, found.rewind_point) == (epoch, point)


@pytest.mark.parametrize("rewind", ["", "epoch", "epoch:", "epoch:-1", "epoch:1.5", "initial", "epoch:3 "])
def test_other_points_are_refused(rewind: str) -> None:
    with pytest.raises(ValidationError, match="must be init, none or epoch:K"):
        options(rewind=rewind)


def test_a_criterion_must_be_known() -> None:
    with pytest.raises(ValidationError, match=r"must be one of .*magnitude.*taylor"):
        options(criterion="magnitud")


@pytest.mark.parametrize(
    ("targets", "kinds"),
    [
        ("all", ("heads", "neurons", "channels")),
        (["channels", "heads"], ("heads", "channels")),
        (["neurons", "neurons"], ("neurons",)),
        (["filters", "channels", "heads"], ("heads", "channels", "filters")),  # what the model has not comes last
        ([], ()),
    ],
)
def test_kinds_come_in_the_structures_order(targets: object, kinds: tuple[str, ...]) -> None:
    names = ("heads", "neurons", "channels")
    structure = Structure(tuple(Group(kind, kind, 0, count=1, macs=1, members=()) for kind in names), 0, 0)
    assert options(targets=targets).kinds(structure) == kinds
