"""Every family with every criterion, scope, pools, method and rewind: whole runs of a second or two.

Rows in which each pair of choices stands together run always; all combinations with `pytest -m exhaustive`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

import prune
from prune.base.files import read_jsonl
from prune.engine.cell import run_cell
from tests.conftest import Compose
from tests.engine.runs import finished

RUN = (
    "experiment=demo",
    "dataset=digits",
    "schedule.states=3",
    "schedule.epochs=2",
    "schedule.epochs_first=1",
    "optim.batch_size=256",
    "hardware=cpu",
    "hardware.threads=1",
)

FAMILIES: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "vit": (
        ("model=vit_micro", "model.depth=2", "model.embed_dim=16", "model.num_heads=4", "model.mlp_ratio=2"),
        {"heads": 8, "neurons": 64},
    ),
    "swin": (
        ("model=swin_micro", "model.embed_dim=8", "model.num_heads=[2,4]", "model.mlp_ratio=1"),
        {"heads": 12, "neurons": 48},
    ),
    "mamba": (
        ("model=mamba_hybrid_micro", "model.patch_size=4", "model.embed_dim=16", "model.d_state=4"),
        {"channels": 64, "neurons": 64},
    ),
}
"""Family → overrides that choose a small model, and its units."""

CHOICES = {
    "family": tuple(FAMILIES),
    "method.criterion": ("magnitude", "group_magnitude", "remaining", "remaining_count", "taylor", "activation", "random"),
    "method.scope": ("global", "layer", "sensitivity"),
    "method.pools": ("separate", "joint"),
    "method": ("refill", "rsst"),
    "method.rewind": ("none", "init", "reinit", "epoch:0"),
}

MORE = {
    "method.min_per_block": ("0", "1", "auto"),
    "targets": ("all", "first kind", "second kind"),
    "optim": ("adamw", "sgd"),
}
"""What only the pairs have."""

Row = tuple[tuple[str, str], ...]


def rows(choices: dict[str, tuple[str, ...]]) -> list[Row]:
    """All combinations that are not refused while composing."""
    every = (tuple(zip(choices, values, strict=True)) for values in product(*choices.values()))
    return [row for row in every if allowed(dict(row))]


def allowed(values: dict[str, str]) -> bool:
    """A joint list is of all kinds and has no layers, and mean activations of two kinds cannot be compared."""
    if values["method.pools"] == "separate":
        return True
    alike = values["method.criterion"] != "activation" and values.get("targets", "all") == "all"
    return alike and values["method.scope"] != "layer"


def pairwise(every: list[Row]) -> Iterator[Row]:
    """Rows in which every pair of choices that may stand together does, chosen greedily, the same each time."""
    pairs = {row: {(one, other) for one in row for other in row if one < other} for row in every}
    missing = set().union(*pairs.values())
    while missing:
        best = max(every, key=lambda row: len(pairs[row] & missing))
        missing -= pairs[best]
        yield best


def name(row: Row) -> str:
    return "-".join(value for _, value in row)


def check(compose: Compose, row: Row) -> None:
    """The counts are what the schedule leaves, and the files say what the model is."""
    values = dict(row)
    model, dense = FAMILIES[values.pop("family")]
    targets = {"all": list(dense), "first kind": [min(dense)], "second kind": [max(dense)]}[values.pop("targets", "all")]
    chosen = f"method.targets={'all' if len(targets) == len(dense) else f'[{targets[0]}]'}"
    directory = finished(run_cell(compose(*RUN, *model, chosen, *(f"{key}={value}" for key, value in values.items()))))
    first, *_, last = read_jsonl(directory.path / "states.jsonl")
    assert first["kept"] == dense
    loaded = prune.load(directory.path)
    structure = loaded.manifest.architecture.structure
    assert last["parameters"] == structure.parameters(last["groups"]) == sum(p.numel() for p in loaded.parameters())
    assert last["macs"] == structure.macs(last["groups"])
    assert last["kept"] == structure.by_kind(last["groups"])
    if values["method.pools"] == "separate":
        assert last["kept"] == {kind: round(0.3 * n) if kind in targets else n for kind, n in dense.items()}
    elif values["method.scope"] == "sensitivity":  # as many units of all kinds together
        assert sum(last["kept"].values()) == sum(round(0.3 * n) for n in dense.values())
    else:  # as large as 30 % of each kind would be, to within a unit and what floors hold
        most = structure.fixed_parameters + 0.3 * (structure.parameters() - structure.fixed_parameters)
        assert last["parameters"] <= most + max(group.parameters for group in structure.groups) + structure.parameters() // 20
    if values.get("method.min_per_block") == "1":
        assert min(last["groups"].values()) >= 1


@pytest.mark.parametrize("row", list(pairwise(rows({**CHOICES, **MORE}))), ids=name)
def test_every_pair_of_choices_goes_together(compose: Compose, row: Row) -> None:
    check(compose, row)


@pytest.mark.exhaustive
@pytest.mark.parametrize("row", rows(CHOICES), ids=name)
def test_all_choices_go_together(compose: Compose, row: Row) -> None:
    check(compose, row)
