"""The document as GitHub-flavoured Markdown; figures are links to their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prune.base.text import printable
from prune.report.document import Document, Item
from prune.report.figures.style import Figure
from prune.report.notes import NOTES
from prune.report.tables.table import Table


def markdown(document: Document, generated: str) -> str:
    """The text of report.md."""
    return "\n".join(_lines(document, generated)) + "\n"


def _lines(document: Document, generated: str) -> Iterator[str]:
    yield from (f"# {escape(document.title)}", "", f"{escape(document.summary)} Made {generated}.", "", "## Conclusions", "")
    for dataset, sentences in document.conclusions.items():
        yield from (f"### {escape(dataset)}", "", *(f"- {escape(sentence)}" for sentence in sentences), "")
    yield from ("## Anomalies", "")
    anomalies = document.findings.anomalies
    if not anomalies:
        yield "None was found."
    for found in anomalies:
        where = " ".join(filter(None, (found.dataset, found.variant, found.run)))
        where += f" state {found.state}" if found.state is not None else ""
        yield (
            f"- **{found.kind}** {escape(where.strip())}: {escape(found.message)}"
            if where
            else f"- **{found.kind}**: {escape(found.message)}"
        )
    yield ""
    for section in document.sections:
        yield from (f"## {escape(section.heading)}", "")
        for item in section.items:
            yield from _item(item, "###")
        for child in section.children:
            yield from (f"### {escape(section.heading)}: {escape(child.heading)}", "")
            for item in child.items:
                yield from _item(item, "####")
    yield from ("## How to read this", "", *(f"- {escape(note)}" for note in NOTES), "")


def _item(item: Item, heading: str) -> Iterator[str]:
    if isinstance(item, Table):
        yield from (f"{heading} {escape(item.title)}", "", *_table(item.columns, item.rows), "")
        note = f"{escape(item.note)} " if item.note else ""
        yield from (f"{note}([CSV](tables/{item.name}.csv))", "")
    elif isinstance(item, Figure):
        yield from (f"![{escape(item.title)}](figures/{item.name}.png)", "")
        yield from (f"{escape(item.title)}. {escape(item.caption)} ([SVG](figures/{item.name}.svg))", "")
    else:
        yield from (printable(item), "")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(escape(column) for column in columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(escape(cell) for cell in row) + " |"


def escape(text: str) -> str:
    """Keep Markdown from reading a number's or an error's characters as markup."""
    parts = printable(" ".join(text.split())).split("`")
    code = len(parts) % 2  # an even number of backticks: every second part is a command, to be copied as it stands
    return "`".join(_escape(part, "|" if code and number % 2 else "\\|*_<[") for number, part in enumerate(parts))


def _escape(text: str, characters: str) -> str:
    for character in characters:
        text = text.replace(character, "\\" + character)
    return text
