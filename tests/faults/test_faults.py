"""A sample of what `python -m tests.faults --all` tries: nothing is silently different, nothing hangs, no traceback."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from prune.engine import saver
from tests.conftest import CONF
from tests.faults import reading, resume
from tests.faults.cases import Case, Harness
from tests.faults.sweeps import KINDS

SEED = 0

SAMPLE = {
    "resume, killed": 10,
    "adopt, shared": 6,
    "read, finished": 4,
    "read, killed": 4,
    "read, running": 4,
    "killed at a point": 10,
    "disk full from a point on (injected)": 8,
    "disk of limited size (tmpfs)": 2,
}
"""How many cases of each group: about a minute."""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = Harness(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.mark.parametrize("group", SAMPLE)
def test_a_sample(harness: Harness, group: str) -> None:
    cases = [case for case in harness.all() if case.group == group]
    if not cases:
        pytest.skip("only root may mount a small disk")
    chosen = random.Random(SEED).sample(cases, SAMPLE[group])
    results = [result for case in chosen for result in harness.run(case)]
    assert [result for result in results if not result.good] == []


@pytest.mark.parametrize("group", ["killed at a point", "disk full from a point on (injected)"])
def test_a_sample_with_saves_beside_training(harness: Harness, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run on a GPU saves: a thread writes while the next epoch trains, and whichever is at the point is hit there."""
    monkeypatch.setattr(saver, "IN_BACKGROUND", ("cuda", "cpu"))
    cases = [*harness.kills(), *harness.full_disks()]
    chosen = random.Random(SEED + 1).sample([case for case in cases if case.group == group], 8)
    assert [result for case in chosen for result in harness.run(case) if not result.good] == []


@pytest.mark.parametrize(
    "file", ["last.pt", "rewind-init.safetensors", "rewind-epoch-001.safetensors", "data.json", "metrics.jsonl"]
)
def test_no_flipped_bit_goes_unnoticed(harness: Harness, file: str) -> None:
    """The files that a result depends on most."""
    [case] = [
        case
        for case in harness.damages()
        if (case.act, case.kind, case.damage, case.number) == ("resume", "killed", "flip", 0) and case.file.endswith(file)
    ]
    [result] = harness.run(case)
    assert result.word == ("refused" if "epoch" in file else "identical"), result.text


def test_every_file_of_a_run_is_among_the_cases(harness: Harness) -> None:
    files = {case.file for case in harness.damages() if case.act == "resume" and case.kind == "finished"}
    assert files == set(harness.sweeps["finished"].files())
    assert {"checksums.json", "config.yaml", "checkpoints/last.pt", "checkpoints/state_02/run_memory.pt"} <= files
    assert isinstance(next(harness.kills()), Case)


def test_every_file_of_a_shared_state_0_is_among_the_cases(harness: Harness) -> None:
    points = {"rewind-init.safetensors", "rewind-epoch-001.safetensors"}
    assert {case.file for case in harness.shared()} == {
        "dense.json", "final.safetensors", "best.safetensors", "predictions.npz", *points,
    }  # fmt: skip


def test_the_page_has_a_row_for_every_group_and_command_and_none_went_wrong(harness: Harness) -> None:
    page = (CONF.parent / "docs/reliability.md").read_text()
    table = page[page.index("| | checks |") :].split("\n\n")[0].splitlines()
    asked = {case.group for case in harness.all() if case.act != "read"} | {"disk of limited size (tmpfs)"}
    asked |= {f"{command}, {kind}" for command in reading.COMMANDS for kind in KINDS}
    assert {line.split("|")[1].strip() for line in table[2:]} == asked
    assert {word.strip() for word in table[0].split("|")[3:-1]} <= {*resume.GOOD, *reading.GOOD}
