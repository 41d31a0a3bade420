"""What text a figure shows, and where."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""


class Drawn(NamedTuple):
    """A figure's canvas and the texts in it."""

    canvas: Box
    texts: list[tuple[str, Box]]

    def cut(self) -> list[str]:
        """The texts that do not lie within the canvas."""
        left, bottom, right, top = self.canvas
        return [text for text, box in self.texts if box[0] < left or box[1] < bottom or box[2] > right or box[3] > top]

    def overlapping(self) -> list[tuple[str, str]]:
        """The texts of which one covers part of the other: more than a pixel, which letters leave free around them."""
        return [
            (first, second)
            for (first, a), (second, b) in itertools.combinations(self.texts, 2)
            if min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1
        ]


def drawing(figure: Figure) -> Drawn:
    """Draw a figure and tell which texts matplotlib drew: of ticks it holds more than it shows."""
    shown: list[Text] = []
    original = Text.draw

    def noted(text: Text, renderer: object) -> None:
        shown.append(text)
        original(text, renderer)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown if text.get_visible() and text.get_text().strip()]
    return Drawn(figure.bbox.extents, [(text, tuple(box.extents)) for text, box in boxes])
