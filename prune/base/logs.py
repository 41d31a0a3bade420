"""Logging: plain lines into the run's launch.log, the same on the console in colour when it is a terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"

FILE_ONLY = {"file_only": True}
"""`log.error(…, extra=FILE_ONLY)`: for the run's log; the console will show it another way."""


def setup_console() -> None:
    """Show our own messages on stderr; other libraries' only from warnings on."""
    root = logging.getLogger()
    if root.handlers:
        return
    console = Console(stderr=True)
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, log_time_format="[%X]", omit_repeated_times=False)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(lambda record: not getattr(record, "file_only", False))
    logging.raiseExceptions = False  # a log line that a full disk refuses is not worth a traceback
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("prune").setLevel(logging.INFO)


class _RunLog(logging.FileHandler):
    """A disk that takes no more lines ends no run."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # its file cannot be opened
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written is lost: the run goes on, or says itself what its disk refuses."""


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append everything logged within this context to a file."""
    handler = _RunLog(path, delay=True)
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("prune").setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
