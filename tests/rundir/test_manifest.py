"""pruned.json: what a state's description says, and that nothing of it changes unnoticed.

What contradicts itself is refused in tests/export/test_loading.py, a file of another version in tests/rundir/test_format.py.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prune.base.errors import UserError
from prune.config.schema import RunConfig
from prune.data.base import DataFacts
from prune.rundir.manifest import FILE, describe_state, manifest_digest, read_manifest, whole_manifest
from tests.report.sweep import configuration

Content = dict[str, Any]

KEPT = {
    "blocks.0.attn": [0, 2],
    "blocks.0.mlp": [5],
    "blocks.1.attn": [],
    "blocks.1.mlp": [0, 1, 191],
    "blocks.2.attn": [1],
    "blocks.2.mlp": [],
    "blocks.3.attn": [0, 1, 2],
    "blocks.3.mlp": list(range(192)),
}
LINE = {
    "state": 2, "rate": 0.7, "macs": 12345, "val_accuracy_best": 81.5, "test_accuracy_best": 80.0,
    "val_accuracy_final": 79.5, "test_accuracy_final": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def content() -> Content:
    """As a run writes it, its own checksum included, of a model of four blocks, 3 heads and 192 neurons each."""
    config = RunConfig.model_validate(configuration())
    architecture = config.architecture()
    # By hand: 97 parameters a neuron (48 in, its bias, 48 out), 3,120 a head (16 channels of q, k, v, their biases, and out).
    parameters = architecture.structure.fixed_parameters + 3_120 * 6 + 97 * 196
    facts = DataFacts([0.25], [0.5], [str(digit) for digit in range(10)], "abc")
    found = describe_state(config, architecture, facts, "digits-refill-s0-x", KEPT, {**LINE, "parameters": parameters})
    found["sha256"] = {"best": "b" * 64, "final": "f" * 64}
    found["sha256"]["manifest"] = manifest_digest(found)
    return found


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def to(value: Any) -> Path:
        path = tmp_path / FILE
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return to


def test_what_a_run_describes_is_read_back(content: Content, write: Callable[[Any], Path]) -> None:
    manifest = read_manifest(write(content).parent)
    assert {name: list(units.kept) for name, units in manifest.groups.items()} == KEPT
    assert list(manifest.groups) == list(KEPT)
    assert [(units.kind, units.block, units.units) for units in manifest.groups.values()] == [
        (kind, block, count) for block in range(4) for kind, count in (("heads", 3), ("neurons", 192))
    ]
    assert manifest.counts == {name: len(units) for name, units in KEPT.items()}
    data = manifest.data
    assert (data.dataset, data.image_size, data.channels, data.mean, data.std) == ("digits", (8, 8), 1, (0.25,), (0.5,))
    assert data.classes == tuple("0123456789")
    said = (manifest.run, manifest.method, manifest.state, manifest.rate, manifest.macs)
    assert said == ("digits-refill-s0-x", "refill", 2, 0.7, 12345)
    best, final = manifest.accuracy["best"], manifest.accuracy["final"]
    assert (best.val, best.test, final.val, final.test) == (81.5, 80.0, 79.5, None)
    assert whole_manifest(write(content)) == content


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values that are no objects and no lists."""
    if isinstance(value, (dict, list)) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*place, key))
    else:
        yield place


def changed(content: Content, place: tuple[Any, ...]) -> Content:
    """The same with another value in one place."""
    result: Any = copy.deepcopy(content)
    inner = result
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = [inner[place[-1]], "other"]
    return result  # type: ignore[no-any-return]


def test_the_checksum_is_of_every_value_and_of_no_order(content: Content) -> None:
    digest = content["sha256"]["manifest"]
    places = [place for place in leaves(content) if place != ("sha256", "manifest")]
    assert len(places) > 250
    assert [place for place in places if manifest_digest(changed(content, place)) == digest] == []
    backwards = {key: content[key] for key in reversed(content)}
    assert manifest_digest(backwards) == digest
    assert manifest_digest(changed(content, ("sha256", "manifest"))) == digest  # which cannot be a part of itself


CONSISTENT: list[tuple[tuple[Any, ...], Any]] = [
    (("accuracy", "best", "test"), 99.0),
    (("data", "mean"), [0.3]),
    (("data", "classes"), list("1023456789")),
    (("groups", "blocks.0.attn", "kept"), [0, 1]),
    (("method",), "rsst"),
]


@pytest.mark.parametrize(("place", "value"), CONSISTENT, ids=lambda value: value[-1] if isinstance(value, tuple) else "")
def test_a_change_that_contradicts_nothing_is_noticed(
    content: Content, write: Callable[[Any], Path], place: tuple[Any, ...], value: Any
) -> None:
    other: Any = copy.deepcopy(content)
    inner = other
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = write(other)
    with pytest.raises(UserError) as refused:
        read_manifest(path.parent)
    assert str(refused.value) == f"{path} is damaged or was changed: its checksum does not match what it says."
    assert whole_manifest(path) is None
    other["sha256"]["manifest"] = manifest_digest(other)  # so it was the checksum alone
    assert read_manifest(write(other).parent).state == 2


def test_keys_of_a_later_version_are_passed_over(content: Content, write: Callable[[Any], Path]) -> None:
    later = copy.deepcopy(content)
    later["licence"] = "MIT"
    later["data"]["text"] = {"tokens": 7}
    later["sha256"]["manifest"] = manifest_digest(later)
    assert read_manifest(write(later).parent).counts == read_manifest(write(content).parent).counts


@pytest.mark.parametrize(
    "damage", ["", "{", "[1]", "null", "{}", "[" * 100_000, '{"format": 2}', '{"format": 2, "sha256": []}']
)
def test_a_damaged_manifest_is_nothing_to_go_on_from_and_the_log_says_so(
    write: Callable[[Any], Path], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(damage)
    assert whole_manifest(path) is None
    assert [record.getMessage() for record in caplog.records] == [f"{path} is damaged (its checksum does not match)"]


def test_where_there_is_no_manifest_there_is_nothing_to_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert whole_manifest(tmp_path / FILE) is None
    assert caplog.records == []
    with pytest.raises(UserError, match=rf"{FILE} is missing, and without it the model beside it cannot be rebuilt\.$"):
        read_manifest(tmp_path)
