"""Names and the code behind them: the project's own, and those of installed packages, which may be broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from prune.base.errors import UserError
from prune.base.registry import Registry

MODULES = ("things_of_theirs", "things_that_break")

ENTRIES = """
[test.things]
theirs = things_of_theirs:Thing
broken = things_that_break:Thing
absent = things_of_theirs:Lost
ours = things_of_theirs:Thing
[test.others]
other = things_of_theirs:Thing
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """One of our own name, beside an installed package that adds names to it."""
    about = tmp_path / "their_things-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-things\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "things_of_theirs.py").write_text("class Thing:\n    pass\n")
    (tmp_path / "things_that_break.py").write_text("import a_library_that_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Registry("kind.thing", "test.things", {"ours": "fractions:Fraction"})
    for module in MODULES:
        sys.modules.pop(module, None)


def test_names_are_known_before_anything_is_imported(registry: Registry) -> None:
    assert registry.names() == ["absent", "broken", "ours", "theirs"]
    assert all(name in registry for name in registry.names())
    assert "other" not in registry
    assert registry.plugin("broken") == "their-things 1.2"
    assert not set(MODULES) & set(sys.modules)


def test_what_is_loaded_is_what_the_name_stands_for(registry: Registry) -> None:
    thing = registry.load("theirs")
    assert (thing.__module__, thing.__name__) == ("things_of_theirs", "Thing")
    assert registry.load("ours") is Fraction, "a package cannot take a name of ours"
    assert (registry.plugin("theirs"), registry.plugin("ours"), registry.plugin("nobody's")) == ("their-things 1.2", None, None)


def test_an_unknown_name_is_one_sentence_with_all_names(registry: Registry) -> None:
    with pytest.raises(UserError) as refused:
        registry.load("their")
    assert str(refused.value) == (
        "kind.thing='their' is not known; choose one of absent, broken, ours, theirs (an installed package can add to them, "
        "under the entry point test.things)."
    )


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [("broken", ModuleNotFoundError, "a_library_that_nobody_has"), ("absent", AttributeError, "Lost")],
)
def test_a_broken_package_says_what_it_lacks_and_spoils_no_other_name(
    registry: Registry, name: str, error: type[Exception], says: str
) -> None:
    """Its author needs the traceback; a `UserError` would say that the name is not known."""
    with pytest.raises(error, match=says):
        registry.load(name)
    assert registry.load("theirs").__name__ == "Thing"
