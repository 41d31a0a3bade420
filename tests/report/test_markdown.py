"""Text in Markdown: what could be read as markup is not, and a command between backticks can be copied as it stands."""

from __future__ import annotations

import pytest

from prune.report.markdown import escape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b * [c] < d | e", r"a\_b \* \[c] \< d \| e"),
        (
            "no_controls; `python launch.py name=demo_hybrid` runs them_",
            r"no\_controls; `python launch.py name=demo_hybrid` runs them\_",
        ),
        ("`a_b | c`", r"`a_b \| c`"),  # a bar would end a table's cell even there
        ("one ` alone_", r"one ` alone\_"),
        ("two\nlines", "two lines"),
    ],
)
def test_markup(text: str, shown: str) -> None:
    assert escape(text) == shown
