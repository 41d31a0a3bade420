"""The one reader: what is wrong with a run's files is named, and is never an exception of Python's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from prune.base.errors import UserError
from prune.base.files import read_json, read_jsonl, read_jsonl_lines, write_json
from prune.config import RunConfig
from prune.rundir.directory import RunDirectory
from prune.rundir.reader import Unreadable, find_runs, is_finished, look, read_run, run_folders
from tests.conftest import Compose
from tests.engine.runs import RunTiny, finished
from tests.sweep.sweeps import write_run


@pytest.fixture
def config(compose_tiny: Compose) -> RunConfig:
    return compose_tiny("method=refill")


def put(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is damaged: it holds no keys."),
        (b"[1]", "is damaged: it holds no keys."),
        (b"\xff\xfe\x00{", "is damaged: it holds no keys."),
        (b"\xff{: [", "is damaged: it is no YAML."),
        (b"a: [", "is damaged: it is no YAML."),
        (b"format: 2\nseed: 0\n", "is damaged: dataset.name is missing."),
        (b"format: 2\nseed: 0\ndataset: 3\n", "is damaged: dataset.name cannot be in it."),
        (b"format: 2\nrun: digits-refill-s9-01234567\nseed: 0\n", "belongs to another run, digits-refill-s9-01234567."),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(config: RunConfig, content: bytes, why: str) -> None:
    directory = write_run(config)
    put(directory.config, content)
    found = look(directory.path)
    assert isinstance(found, Unreadable)
    assert found.why == f"{directory.config} {why}"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [("seed", [1], "seed is not what it should be"), ("seed", 7, "its checksum"), ("seeds", 0, "its checksum")],
)
def test_a_configuration_that_was_changed_is_named(config: RunConfig, key: str, value: object, why: str) -> None:
    directory = write_run(config)
    assert read_run(directory.path).config == config.model_dump(mode="json")
    content = yaml.safe_load(directory.config.read_text())
    put(directory.config, yaml.safe_dump({**content, key: value}).encode())
    with pytest.raises(UserError, match=why):
        read_run(directory.path)


@pytest.mark.parametrize("damage", ["missing", "folder", "link"])
def test_a_run_without_its_configuration_is_still_a_run(config: RunConfig, damage: str) -> None:
    directory = write_run(config, epochs=1, status="failed")
    directory.config.unlink()
    if damage == "folder":
        directory.config.mkdir()
    elif damage == "link":
        directory.config.symlink_to("nowhere")
    assert run_folders(directory.path.parent) == [directory.path]
    found = look(directory.path)
    assert isinstance(found, Unreadable) and str(directory.config) in found.why


def test_a_renamed_folder_may_hold_any_run(config: RunConfig, tmp_path: Path) -> None:
    directory = write_run(config)
    renamed = directory.path.rename(tmp_path / "the good one")
    assert read_run(renamed).config["seed"] == 0


def bad_text(_: dict[str, object]) -> bytes:
    return b"\xff\xfe"


def a_list(_: dict[str, object]) -> bytes:
    return b"[1]"


def renamed_keys(line: dict[str, object]) -> bytes:
    return json.dumps({f"x{key}": value for key, value in line.items()}).encode()


def not_finite(line: dict[str, object]) -> bytes:
    return json.dumps({**line, "val_accuracy": float("nan")}).encode()


@pytest.mark.parametrize("damage", [bad_text, a_list, renamed_keys, not_finite])
def test_lines_are_read_up_to_the_first_that_is_wrong(config: RunConfig, damage: Callable[[dict[str, object]], bytes]) -> None:
    directory = write_run(config, epochs=4, status="failed")
    lines = directory.metrics.read_bytes().splitlines()
    lines[2] = damage(json.loads(lines[2]))
    put(directory.metrics, b"\n".join(lines) + b"\n")
    run = read_run(directory.path)
    assert [line["val_accuracy"] for line in run.metrics] == [50.0, 51.0]
    [problem] = run.problems
    assert str(directory.metrics) in problem and "line 3" in problem


def test_a_line_that_is_being_written_is_no_fault(config: RunConfig) -> None:
    directory = write_run(config, epochs=2, status="failed")
    with directory.metrics.open("a") as file:
        file.write('{"state": 1, "epo')
    run = read_run(directory.path)
    assert len(run.metrics) == 2 and run.problems == ()


@pytest.mark.parametrize(
    "content", [b"[1]", b'"done"', b"{}", b"\xff", b'{"status": ["done"]}', b'{"status": "done", "starts": 3}']
)
def test_a_status_of_another_shape_counts_as_missing_and_is_named(config: RunConfig, content: bytes) -> None:
    directory = write_run(config, epochs=2)
    put(directory.status, content)
    run = read_run(directory.path)
    assert run.status == {} and not run.done
    assert str(directory.status) in run.problems[0]


def test_a_run_that_says_done_needs_all_its_lines(config: RunConfig) -> None:
    directory = write_run(config, epochs=3, status="failed")
    write_json(directory.status, {"status": "done"})
    run = read_run(directory.path)
    assert not run.done
    assert "has 3 lines where a run that is done has 6" in run.problems[0]


def test_a_digit_of_a_finished_runs_lines_that_changed_is_noticed(run_tiny: RunTiny) -> None:
    directory = finished(run_tiny("method=refill"))
    assert is_finished(read_run(directory.path))
    whole = directory.metrics.read_text()
    lines = [json.loads(line) for line in whole.splitlines()]
    lines[1]["val_accuracy"] += 1
    put(directory.metrics, "".join(json.dumps(line) + "\n" for line in lines).encode())
    run = read_run(directory.path)
    assert not run.done and "its checksum is not the one in checksums.json" in run.problems[0]
    assert run_tiny("method=refill").status == "done"
    assert directory.metrics.read_text() == whole
    assert is_finished(read_run(directory.path))


def test_one_damaged_run_does_not_hide_the_others(compose_tiny: Compose) -> None:
    damaged, whole = (write_run(compose_tiny("method=refill", f"seed={seed}"), epochs=1) for seed in (0, 1))
    put(damaged.config, b"{")
    runs, unreadable = find_runs(whole.path.parent)
    assert [run.id for run in runs] == [whole.path.name]
    assert [run.path for run in unreadable] == [damaged.path]


def test_reading_small_files_never_raises(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / "none" / "none"):
        assert read_json(path) is None
        assert read_jsonl(path) == []
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    assert read_json(deep) is None
    assert read_jsonl_lines(deep) == ([], None)  # a last line that was cut short
    deep.write_text("[" * 100_000 + "\n")
    assert read_jsonl_lines(deep) == ([], "has no JSON object in line 1")


def test_a_folder_in_a_files_place_is_named_before_the_run_goes_on(config: RunConfig) -> None:
    directory = write_run(config)
    (directory.checkpoints / "last.pt").mkdir(parents=True)
    with pytest.raises(UserError, match=r"last\.pt is a folder where a file belongs"):
        RunDirectory(directory.path).check()
