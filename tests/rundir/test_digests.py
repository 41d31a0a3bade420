"""A file is as it was written, or it is not believed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.base.files import read_json
from prune.rundir.digests import Digests, digest, write_checksums
from prune.rundir.directory import RunDirectory


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def digests(tmp_path: Path) -> Digests:
    """Of a run with three files, all noted but the last."""
    directory = RunDirectory(tmp_path / "run")
    directory.state(0).mkdir(parents=True)
    found = Digests(directory, {})
    for path, content in ((directory.manifest(0), b"{}"), (directory.rewind("init"), b"init")):
        path.write_bytes(content)
        found.note(path, sha(content))
    directory.last.write_bytes(b"not noted")
    return found


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_bit(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


DAMAGES: list[Callable[[Path], object]] = [Path.unlink, a_folder, a_bit, lambda path: path.write_bytes(b"")]


def test_whole_files_hold_and_files_that_were_never_noted_do_not(digests: Digests) -> None:
    directory = digests.directory
    assert digests.broken() == []
    assert digests.hold(directory.manifest(0)) and digests.of(directory.manifest(0)) == sha(b"{}")
    assert not digests.hold(directory.last) and digests.of(directory.last) is None
    assert not digests.hold(directory.path / "never there")


@pytest.mark.parametrize("damage", DAMAGES, ids=["missing", "folder", "bit", "empty"])
def test_a_damaged_file_is_found_until_it_is_put_right_or_forgotten(digests: Digests, damage: Callable[[Path], object]) -> None:
    path = digests.directory.rewind("init")
    damage(path)
    assert not digests.hold(path)
    assert digests.broken() == [path]
    digests.forget(path)
    assert digests.broken() == []
    assert digests.of(path) is None
    digests.forget(path)  # of a file that was never noted as well


def test_all_that_is_broken_is_found_in_order(digests: Digests) -> None:
    directory = digests.directory
    for path in (directory.manifest(0), directory.rewind("init")):
        path.unlink()
    assert digests.broken() == [directory.rewind("init"), directory.manifest(0)]


def test_a_run_that_was_moved_holds(digests: Digests, tmp_path: Path) -> None:
    """Its table has paths within the run, which it takes along in last.pt."""
    moved = Digests(RunDirectory(tmp_path / "moved"), dict(digests.table))
    shutil.move(digests.directory.path, moved.directory.path)
    assert moved.broken() == []
    assert len(digests.broken()) == 2


def test_a_finished_run_notes_its_lines_and_facts_too(tmp_path: Path) -> None:
    """Of weights.json, which only some runs have, only where it is there."""
    directory = RunDirectory(tmp_path)
    contents = {"metrics.jsonl": b'{"epoch": 0}\n', "states.jsonl": b"", "data.json": b"{}"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    write_checksums(directory, {"checkpoints/rewind-init.safetensors": "ab"})
    expected = {"checkpoints/rewind-init.safetensors": "ab", **{name: sha(content) for name, content in contents.items()}}
    assert read_json(directory.checksums) == {"files": expected}


def test_the_digest_of_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert digest(tmp_path) is None
    assert digest(tmp_path / "missing") is None
