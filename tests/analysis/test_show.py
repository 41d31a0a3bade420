"""Every analysis draws its figures for every family, also where a block has lost everything, and says how to read them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

from prune.base.registries import ANALYSES
from prune.pruning.keepset import KeepSet
from prune.report.figures import style
from tests.analysis.subjects import MODELS, architecture_of, every_second, subject


def without_the_first_block(keep: KeepSet) -> KeepSet:
    """Of each later block every second unit; nothing of the first, whatever its groups are called."""
    (family,) = (name for name in MODELS if set(KeepSet.dense(architecture_of(name).structure)) == set(keep))
    gone = {group.name for group in architecture_of(family).structure.groups if group.block == 0}
    return KeepSet({name: units[:0] if name in gone else units[::2].contiguous() for name, units in keep.items()})


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("choose", [every_second, without_the_first_block])
@pytest.mark.parametrize("name", ANALYSES.table)
def test_figures_are_drawn_without_a_warning_and_say_how_to_read_them(
    name: str, choose: Callable[[KeepSet], KeepSet], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "DPI", 20)
    analysis, looked_at = ANALYSES.load(name)(), subject(family, choose=choose)
    if analysis.refuses(looked_at):
        assert (name, family) == ("attention", "mamba")
        return
    with warnings.catch_warnings(), style.styled():
        warnings.simplefilter("error")
        shown = analysis.show(looked_at, analysis.measure(looked_at))
    assert shown.figures and len({figure.name for figure in shown.figures}) == len(shown.figures)
    for figure in shown.figures:
        assert (
            figure.name.startswith(f"{name}-") and figure.png.startswith(b"\x89PNG") and figure.svg.rstrip().endswith(b"</svg>")
        )
    for text in [*(figure.caption for figure in shown.figures), *shown.sentences]:
        assert text.endswith(".") and " nan" not in text and "  " not in text, text
