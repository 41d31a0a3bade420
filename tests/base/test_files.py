"""Atomic writes, also where the file system can do less."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from prune.base import files
from prune.base.files import write_json


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_where_folders_cannot_be_synced_it_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    real = os.fsync

    def no_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    files._note_no_folder_sync.cache_clear()
    monkeypatch.setattr(os, "fsync", no_folders)
    caplog.set_level("INFO", "prune")
    for value in (1, 2):
        write_json(tmp_path / "a.json", value)
    assert (tmp_path / "a.json").read_text() == "2\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert len(caplog.records) == 1
    assert "cannot sync folders" in caplog.text


def test_other_trouble_with_a_folder_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="input/output"):
        write_json(tmp_path / "a.json", 1)
    assert not list(tmp_path.iterdir())
