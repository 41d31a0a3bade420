"""What the command prints: the overall result, how many anomalies, and where the page is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from prune.base.text import literal
from prune.report.document import Document
from prune.report.tables.table import Table

LEFT_OUT = ("best state", "last state", "epochs since rewind", "training FLOPs", "runs")
"""Columns of the overall table that the terminal has no room for, or puts into a second line."""

EQUAL_SIZE = (
    "Read off the straight line between two neighbouring states of a run, over their counted size; –: it has no such size."
)


def show(document: Document, pages: Sequence[Path], console: Console | None = None) -> None:
    """Print the summary."""
    console = console or Console()
    console.print(literal(document.summary))
    for table in document.tables:
        if table.name.startswith("overall-"):
            console.print(_compact(table, f"{table.frame['dataset'].iloc[0]}: test accuracy (%)"))
        elif table.name.startswith("equal_size-"):
            console.print(equal_size(table))
    anomalies = document.findings.anomalies
    if anomalies:
        noun = "anomaly" if len(anomalies) == 1 else "anomalies"
        console.print(f"{len(anomalies)} {noun} flagged; the report lists them.", style="yellow")
    for path in pages:
        console.print(f"Report: {literal(path)}", soft_wrap=True)


def _compact(table: Table, title: str) -> RichTable:
    """The overall table in half the width: states and intervals go to a second line, run keys are left to the page."""
    shown = _table(title)
    for column in table.columns:
        if column not in LEFT_OUT:
            shown.add_column(literal(column), justify="left" if column == "method" else "right", overflow="fold")
    for row in table.rows:
        cells = dict(zip(table.columns, row, strict=True))
        for column in ("best", "last"):
            cells[column] += f"\nstate {cells.pop(f'{column} state')}"
        shown_cells = [text for column, text in cells.items() if column not in LEFT_OUT]
        second_line = [re.sub(r",?( in)? (states? |\[|\(n)", r"\n\2", text) for text in shown_cells]
        shown.add_row(*("\n".join(map(literal, text.split("\n"))) for text in second_line))
    return shown


def _table(title: str, caption: str | None = None) -> RichTable:
    return RichTable(
        title=literal(title), title_justify="left", caption=caption, caption_justify="left", box=SIMPLE_HEAD, show_edge=False,
        pad_edge=False, collapse_padding=True,
    )  # fmt: skip


def equal_size(table: Table) -> RichTable:
    """The table of accuracies at equal size, without what was trained for them."""
    shown = _table(f"{table.frame['dataset'].iloc[0]}: test accuracy (%) at equal size", EQUAL_SIZE)
    columns = [column for column in table.columns if column not in LEFT_OUT]
    for column in columns:
        heading = literal(column).replace(" parameters", "\nparams").replace(" MACs", "\nMACs")
        shown.add_column(heading, justify="left" if column == "method" else "right", overflow="fold")
    for row in table.rows:
        cells = dict(zip(table.columns, row, strict=True))
        shown.add_row(*(literal(cells[column]).replace(" · ", "\n").replace(" ±", "\n±") for column in columns))
    return shown
