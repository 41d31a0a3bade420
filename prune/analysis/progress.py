"""The bars of the command: analyses done of all, and how far the present one is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prune.base.text import literal


class ProgressBar:
    """Use as a context. On what is no terminal it shows nothing."""

    def __init__(self, total: int):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self._all = self._bar.add_task("analyses", total=total)
        self._one = self._bar.add_task("", total=None)

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, what: str) -> None:
        """The next analysis."""
        self._bar.reset(self._one, description=literal(what), total=None)

    def track(self, items: Iterable[Any], total: int) -> Iterator[Any]:
        """Hand on items, and show how many of them are done."""
        self._bar.update(self._one, total=total, completed=0)
        for item in items:
            yield item
            self._bar.advance(self._one)

    def done(self) -> None:
        """The present analysis is over."""
        self._bar.advance(self._all)
