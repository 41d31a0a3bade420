"""What a start ran on is stored, and a change within a run is flagged."""

from __future__ import annotations

import pytest

from prune.base.files import read_json
from tests.engine.runs import RunTiny, finished, interrupted


def test_threads_of_the_first_start_are_kept_and_a_change_is_flagged(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    again = finished(run_tiny("method=rsst", "hardware.threads=2"))
    assert again == directory  # hardware does not count for the identity
    status = read_json(directory.status)
    assert [start["threads"] for start in status["starts"]] == [1, 2]
    assert "from 1 to 2" in status["flags"][0]


def test_every_start_says_what_it_ran_on(run_tiny: RunTiny) -> None:
    status = read_json(finished(run_tiny("method=dense")).status)
    (start,) = status["starts"]
    assert set(start) >= {"time", "commit", "torch", "device", "precision", "threads"}
