"""The document as one HTML file that needs nothing else: styles and figures are inside."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from prune.base.text import printable
from prune.report.document import Document, Item
from prune.report.figures.style import Figure
from prune.report.notes import NOTES
from prune.report.run import Run
from prune.report.tables.table import Table


def page(document: Document, generated: str, hrefs: dict[str, str]) -> str:
    """The text of report.html.

    Args:
        hrefs: run key → where its directory is, as seen from the page.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=without_controls
    )
    environment.filters |= {"cell": cell, "paragraph": paragraph, "inline": inline, "groups": groups}
    template = environment.from_string(files("prune.report").joinpath("template.html").read_text(encoding="utf-8"))
    return template.render(document=document, generated=generated, notes=NOTES, hrefs=hrefs)


def without_controls(value: Any) -> Any:
    """Text as it is shown; what this module has marked as HTML already is left alone."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def groups(items: Sequence[Item]) -> list[tuple[str, Any]]:
    """Items in order, neighbouring figures gathered into one `("figures", […])` so that they stand side by side."""
    found: list[tuple[str, Any]] = []
    for item in items:
        if not isinstance(item, Figure):
            found.append(("table" if isinstance(item, Table) else "text", item))
        elif found and found[-1][0] == "figures":
            found[-1][1].append(item)
        else:
            found.append(("figures", [item]))
    return found


LARGEST_SVG = 100_000
"""Bytes: a figure whose SVG has more is in the page as a PNG, so that a page of many stays light."""


def inline(figure: Figure) -> str:
    """A figure as the address of its own content."""
    as_png = figure.light or len(figure.svg) > LARGEST_SVG
    kind, content = ("png", compact(figure.png)) if as_png else ("svg+xml", figure.svg)
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def compact(png: bytes) -> bytes:
    """The same picture in 256 colours, a third of the size."""
    content = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # Its white is a shade off, which shows beside the page's.
    picture.putpalette([255 if value == 254 else value for value in picture.getpalette() or []])
    picture.save(content, "png", optimize=True)
    return content.getvalue()


def paragraph(text: str) -> Markup:
    """A paragraph with `…` as code."""
    parts = re.split(r"`([^`]*)`", printable(text))
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def cell(text: str, column: str, row: int, hrefs: dict[str, str]) -> Markup:
    """A table's cell: run keys link to the runs table, directories to the directories."""
    text = printable(text)
    if column == "runs":
        links = [Markup('<a href="#run-{}">{}</a>').format(first, shown) for first, shown in spans(text.split())]
        return Markup(" ").join(links)
    if column == "run":
        return Markup('<span id="run-{0}">{0}</span>').format(text)
    if column == "directory":
        # A path is long and has no spaces: let it break after its slashes.
        href = hrefs.get(f"R{row + 1}", "")
        shown = Markup("/<wbr>").join(escape(part) for part in text.split("/"))
        return Markup('<a href="{}">{}</a>').format(href, shown)
    return escape(text)


def spans(keys: Sequence[str]) -> list[tuple[str, str]]:
    """Run keys in order, three or more in a row as one: `R1 R2 R3 R7` → `(R1, R1–R3), (R7, R7)`."""
    rows: list[list[str]] = []
    for key in keys:
        if rows and int(key[1:]) == int(rows[-1][-1][1:]) + 1:
            rows[-1].append(key)
        else:
            rows.append([key])
    found = []
    for row in rows:
        found += [(row[0], f"{row[0]}–{row[-1]}")] if len(row) > 2 else [(key, key) for key in row]
    return found


def relative_address(run: Run, out: Path) -> str:
    """A run's directory as a relative link from the folder of the page, so that a copied `outputs` still works."""
    return quote(os.path.relpath(run.path.resolve(), out.resolve())) + "/"
