"""Numbers and names as a reader wants them."""

from __future__ import annotations

from pathlib import Path

from prune.report.text import slug


def test_a_slug_is_safe_in_a_file_name_however_long_the_text(tmp_path: Path) -> None:
    assert slug("digits refill · schedule.target=0.5") == "digits-refill-schedule-target-0-5"
    long = "digits refill · teacher=/" + "a/long/path/" * 40
    first, second = slug(f"{long}one"), slug(f"{long}two")
    assert first != second  # they differ beyond what a name can hold
    for name in (first, second):
        (tmp_path / f".survival-{name}.svg.tmp").write_text("")
