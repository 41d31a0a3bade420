"""The document onto the disk: pages, figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import write_atomically, write_text
from prune.base.text import printable
from prune.report.document import Document
from prune.report.markdown import markdown
from prune.report.page import page, relative_address
from prune.report.tables.runs import every_epoch, every_result


def prepare(out: Path) -> None:
    """Make the folders, before any time is spent on figures that could not be written.

    Raises:
        UserError: if they cannot be made.
    """
    try:
        for folder in (out, out / "figures", out / "tables"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out={out} cannot be written to ({error.strerror}).") from None


def write(document: Document, out: Path, formats: Sequence[str], generated: str) -> list[Path]:
    """Write everything below `out`, which `prepare` made; each file wholly or not at all.

    Args:
        formats: `html`, `md`.
        generated: the moment, as text.

    Returns:
        The pages written (report.html, report.md).
    """
    for figure in document.figures:
        for suffix, content in (("png", figure.png), ("svg", figure.svg)):
            _write_bytes(out / "figures" / f"{figure.name}.{suffix}", content)
    frames = {table.name: table.frame for table in document.tables}
    frames |= {"states": every_result(document.findings), "epochs": every_epoch(document.findings)}
    for name, frame in frames.items():
        write_text(out / "tables" / f"{name}.csv", frame.map(_literal).to_csv(index=False))
    pages = []
    if "html" in formats:
        hrefs = {run.key: relative_address(run, out) for run in document.findings.study.runs}
        pages.append(out / "report.html")
        write_text(pages[-1], page(document, generated, hrefs))
    if "md" in formats:
        pages.append(out / "report.md")
        write_text(pages[-1], markdown(document, generated))
    return pages


def _literal(value: Any) -> Any:
    """Text that neither a terminal nor a spreadsheet acts upon: one that begins as a formula does gets an apostrophe first."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _write_bytes(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write(content) and None)
