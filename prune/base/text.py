"""Words and numbers that several outputs write alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any


def printable(text: object) -> str:
    """`text` in one line that no terminal acts upon: control characters, and bytes that are no UTF-8, as `\\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def literal(text: object) -> str:
    """`printable` text that rich shows as it is, brackets included."""
    from rich.markup import escape

    return escape(printable(text))


def ranges(numbers: Iterable[int], dash: str = "–", comma: str = ", ") -> str:
    """`1–3, 7`."""
    parts: list[list[int]] = []
    for n in sorted(set(numbers)):
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return comma.join(str(low) if low == high else f"{low}{dash}{high}" for low, high in parts)


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def count(n: int, noun: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{n} {noun}" + ("" if n == 1 else "s")


def duration(seconds: float) -> str:
    """`1:02:03`, or `4:05` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def flatten(tree: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Nested sections → `dotted.key → value`; the sections of a list go by their number."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            flat.update({f"{key}{separator}{below}": item for below, item in flatten(value, separator).items()})
        else:
            flat[key] = value
    return flat


def dataset_label(name: str, root: str | None = None) -> str:
    """`cifar10`; a dataset that is chosen by its folder is named by that as well: `image_folder-cub`."""
    return printable(f"{name}-{PurePath(root).name}" if root else name)


UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
"""Of large numbers, the largest first."""


def rounded(value: float) -> str:
    """A large number to three significant digits, with its unit: `60 k`, `1.42 G`."""
    for size, unit in UNITS:
        if abs(value) >= 0.9995 * size:  # what rounds to a thousand is one of the next
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"
