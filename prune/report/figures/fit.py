"""Text that fits: measured, and broken into lines no wider than there is room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from prune.base.text import printable


@lru_cache(maxsize=4096)
def width(text: str, size: float) -> float:
    """Inches that one line takes in the house font at so many points."""
    points, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(family="DejaVu Sans", size=size), ismath=False
    )
    return float(points) / 72


def wrap(text: str, inches: float, size: float) -> str:
    """Text in lines of at most so many inches: broken after “ · ” and at spaces, but not
    in parentheses; a word that is wider than a line is broken anywhere."""
    lines = [""]
    for word in re.findall(r"(?:\([^()]*\)|[^ ])+(?: ·)? *", printable(text)):
        for piece in _pieces(word, inches, size):
            if lines[-1] and width(lines[-1] + piece.rstrip(), size) > inches:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _pieces(word: str, inches: float, size: float) -> Iterator[str]:
    """A word in as few parts as fit."""
    while width(word.rstrip(), size) > inches and len(word.rstrip()) > 1:
        end = next((n for n in range(len(word), 1, -1) if width(word[:n], size) <= inches), 1)
        yield word[:end]
        word = word[end:]
    yield word
