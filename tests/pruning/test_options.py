"""What `method` says, whichever it is."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from prune.architectures.group import Group, Structure
from prune.pruning.options import MethodOptions, ScoredOptions, rewind_epoch


def options(**keys: object) -> MethodOptions:
    return MethodOptions.model_validate({"name": "any", **keys})


@pytest.mark.parametrize(
    ("rewind", "points", "epoch"),
    [("none", (), None), ("init", ("init",), None), ("epoch:0", ("epoch:0",), 0), ("epoch:1200", ("epoch:1200",), 1200)],
)
def test_the_points_to_rewind_to(rewind: str, points: tuple[str, ...], epoch: int | None) -> None:
    assert options(rewind=rewind).rewind_points == points
    assert rewind_epoch(rewind) == epoch


@pytest.mark.parametrize("rewind", ["", "epoch", "epoch:", "epoch:-1", "epoch:1.5", "initial", "epoch:3 "])
def test_other_points_are_refused(rewind: str) -> None:
    with pytest.raises(ValidationError, match="must be init, reinit, none or epoch:K"):
        options(rewind=rewind)


def test_a_criterion_must_be_known() -> None:
    with pytest.raises(ValidationError, match=r"must be one of .*magnitude.*taylor"):
        ScoredOptions.model_validate({"name": "any", "criterion": "magnitud"})


@pytest.mark.parametrize(
    ("targets", "kinds"),
    [
        ("all", ("heads", "neurons", "channels")),
        (["channels", "heads"], ("heads", "channels")),
        (["neurons", "neurons"], ("neurons",)),
        (["filters", "channels", "heads"], ("heads", "channels", "filters")),  # what the model has not comes last
    ],
)
def test_kinds_come_in_the_structures_order(targets: object, kinds: tuple[str, ...]) -> None:
    names = ("heads", "neurons", "channels")
    structure = Structure(tuple(Group(kind, kind, 0, count=1, macs=1, members=()) for kind in names), 0, 0)
    assert options(targets=targets).kinds(structure) == kinds


def test_no_kind_at_all_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        options(targets=[])
