"""Heat maps of blocks that differ in number, width and kind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from prune.report.figures.survival import picture
from prune.report.survival import Survival
from tests.report.figures.texts import drawing

STAGES = {block: f"stage {block // 6}, block {block % 6}" for block in range(24)}
"""As the swin family calls its blocks."""


def _survival(blocks: int, kinds: dict[str, range], states: int = 16, labels: Mapping[int, str] | None = None) -> Survival:
    """Kind → the blocks that have it; each block of a stage twice as wide as of the one before, thinned state by state."""
    units = {(kind, block): 2 ** (block // 6) * 24 for kind, having in kinds.items() for block in having}
    left = 1 - np.arange(states) / states
    counts = {place: np.stack([np.round(width * left), np.round(width * left)]) for place, width in units.items()}
    return Survival(list(range(states)), units, counts, labels or {block: str(block) for _, block in units})


CASES = {
    "12 blocks": (12, {"heads": range(12), "neurons": range(12)}),
    "24 blocks": (24, {"heads": range(24), "neurons": range(24)}),
    "stages": (24, {"heads": range(24), "neurons": range(24)}),
    "4 kinds": (24, {"heads": range(24), "neurons": range(24), "channels": range(12), "inner channels": range(12, 24)}),
}


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("states", [3, 16, 40])
def test_every_block_has_its_number_and_no_text_covers_another(case: str, states: int) -> None:
    blocks, kinds = CASES[case]
    labels = STAGES if case == "stages" else {block: str(block) for block in range(blocks)}
    found = _survival(blocks, kinds, states, labels)
    name = "rsst · criterion=group_magnitude, " + ", ".join(f"penalty.exponents_{n}=4" for n in range(8))
    figure = picture(found, f"image_folder-birds, {name}: units kept per block")
    panels = figure.axes[: len(kinds)]
    assert [axes.get_title() for axes in panels] == list(kinds)
    assert [label.get_text() for label in panels[0].get_yticklabels()] == list(labels.values())
    for axes, having in zip(panels, kinds.values(), strict=True):
        last = [(text.get_position()[1], text.get_text()) for text in axes.texts if text.get_position()[0] == states - 1]
        assert last == [
            (block, f"{100 * round(24 * 2 ** (block // 6) / states) / (24 * 2 ** (block // 6)):.0f}") for block in having
        ]
        assert axes.get_xticklabels()[-1].get_text() == str(states - 1)
    drawn = drawing(figure)
    assert (drawn.cut(), drawn.overlapping()) == ([], [])
    points = [box[3] - box[1] for text, box in drawn.texts if text.isdigit()]
    assert min(points) * 72 / figure.dpi > 5  # a figure is two thirds of its font's size
