"""The copy of the code that jobs run from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prune.base.commit import commit
from prune.base.errors import UserError
from prune.sweep import snapshot
from prune.sweep.snapshot import take_snapshot


def python(code: str, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_copy_comes_before_an_installed_package(tmp_path: Path) -> None:
    copy = take_snapshot(tmp_path)
    found = python("import prune.engine.run; print(prune.__file__, prune.engine.run.__file__)", tmp_path, PYTHONPATH=str(copy))
    assert found == f"{copy / 'prune/__init__.py'} {copy / 'prune/engine/run.py'}"


def test_it_knows_the_commit_it_was_made_from(tmp_path: Path) -> None:
    copy = take_snapshot(tmp_path)
    assert python("from prune.base.commit import commit; print(commit())", tmp_path, PYTHONPATH=str(copy)) == str(commit())


def test_the_same_code_is_copied_once_and_changed_code_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    (package / "sub" / "__pycache__").mkdir(parents=True)
    (package / "sub" / "page.html").write_text("<p>")
    (package / "sub" / "__pycache__" / "x.pyc").write_text("")
    (package / "a.py").write_text("x = 1")
    monkeypatch.setattr(snapshot, "PACKAGE", package)
    first = take_snapshot(tmp_path / "sweep")
    assert take_snapshot(tmp_path / "sweep") == first
    assert sorted(str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()) == [
        "commit.txt", "prune/a.py", "prune/sub/page.html",
    ]  # fmt: skip
    (package / "a.py").write_text("x = 2")
    assert take_snapshot(tmp_path / "sweep") != first
    assert (first / "prune" / "a.py").read_text() == "x = 1"


@pytest.mark.parametrize("damage", ["change", "lack", "add"])
def test_a_copy_that_is_not_the_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for name in ("a.py", "b.py"):
        (package / name).write_text(f"# {name}")
    monkeypatch.setattr(snapshot, "PACKAGE", package)
    first = take_snapshot(tmp_path / "sweep")
    if damage == "lack":
        (first / "prune" / "a.py").unlink()
    else:
        (first / "prune" / ("a.py" if damage == "change" else "c.py")).write_text("import os")
    left = sorted((path, path.stat().st_mtime_ns) for path in first.rglob("*"))
    second = take_snapshot(tmp_path / "sweep")
    assert second.name == f"{first.name}-1"
    assert {path.name: path.read_text() for path in (second / "prune").iterdir()} == {"a.py": "# a.py", "b.py": "# b.py"}
    assert sorted((path, path.stat().st_mtime_ns) for path in first.rglob("*")) == left, "jobs may be running from it"
    assert take_snapshot(tmp_path / "sweep") == second


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".code").write_text("in the way")
    with pytest.raises(UserError, match="outputs: the code could not be copied"):
        take_snapshot(tmp_path)
