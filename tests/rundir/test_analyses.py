"""What an analysis leaves: the files that its last computation gave, and none of an earlier one's."""

from __future__ import annotations

from pathlib import Path

from prune.rundir.analyses import Picture, read_stored, write_stored
from prune.rundir.directory import RunDirectory


def store(directory: RunDirectory, name: str, *figures: str, arrays: bytes | None = b"arrays") -> None:
    about = {
        "analysis": name,
        "title": name,
        "state": 0,
        "images": 7,
        "sources": {},
        "sentences": [],
        "refused": None,
        "numbers": {},
    }
    write_stored(directory, about, [Picture(figure, "Title", "Caption.", False, b"png", b"svg") for figure in figures], arrays)


def test_what_is_no_longer_made_is_removed_and_nothing_else(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    store(directory, "errors", "errors-classes", "errors-calibration")
    store(directory, "weights", "weights-norms")
    store(directory, "errors", "errors-classes", arrays=None)
    files = sorted(path.name for path in (tmp_path / "analysis/state_00").iterdir())
    assert files == [
        "errors-classes.png", "errors-classes.svg", "errors.json",
        "weights-norms.png", "weights-norms.svg", "weights.json", "weights.npz",
    ]  # fmt: skip
    for name in ("errors", "weights"):
        stored = read_stored(directory, 0, name)
        assert stored is not None and set(stored.files) < set(files)
