"""A run that goes on after one of its files was damaged: it ends with the same bits, or one sentence names the file."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np

from prune.base.files import read_json
from prune.config import RunConfig
from prune.engine.cell import run_cell
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from tests.engine.durability import differences

LIMIT_SECONDS = 60

GOOD = ("identical", "named", "refused")
"""The same bits; the same numbers, with the files named that could not be had back; not gone on with, in one sentence."""


class Hung(BaseException):
    """Took longer than any run here can."""


@contextmanager
def in_time(seconds: int = LIMIT_SECONDS) -> Iterator[None]:
    """Raise `Hung` when this context takes longer."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Said(logging.Handler):
    """What was logged within a context, as text."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> Said:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def names(self, path: Path | str) -> bool:
        return any(str(path) in line for line in self.lines)


def go_on(config: RunConfig, whole: Path, damaged: Path | None = None) -> tuple[str, str]:
    """Run to the end; a word of `GOOD`, or what went wrong; and a text for a person.

    Args:
        whole: the directory of the same run, never disturbed.
        damaged: the file that must be named where anything is amiss.
    """
    directory = run_directory(config)
    with Said() as said:
        try:
            with in_time():
                outcome = run_cell(config)
        except Hung:
            return "hung", ""
        except BaseException as error:
            return "crashed", f"{type(error).__name__}: {error}"
    if outcome.status == "failed":
        text = str(outcome.error)
        if "\n" in text.strip() or (read_json(directory.status) or {}).get("traceback"):
            return "crashed", text
        return ("refused", text) if damaged is None or str(damaged) in text else ("unnamed", text)
    found = apart(whole, directory.path)
    if not found:
        return "identical", ""
    if damaged is not None and said.names(damaged) and all(str(damaged.relative_to(directory.path)) in line for line in found):
        return "named", "; ".join(found)
    return "different", "; ".join(found)


def apart(whole: Path, other: Path) -> list[str]:
    """What of a finished run differs from one that was never disturbed, times aside; each line names a file."""
    found = [] if (other / "states.jsonl").is_file() else ["states.jsonl: missing"]
    try:
        found += differences(whole, other)
    except Exception as error:  # a file that cannot be loaded: find out which
        found += [f"{name}: cannot be loaded" for name in _unlike(whole, other)] or [f"{type(error).__name__}: {error}"]
    return found + _unlike(whole, other, models=False)


def _unlike(whole: Path, other: Path, models: bool = True) -> list[str]:
    """Files whose content differs: models (whole bytes), predictions, facts of the data, units kept."""
    names = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
    found = []
    for name in names:
        one, two = whole / name, other / name
        try:
            if name.suffix == ".safetensors" and models:
                same = one.read_bytes() == two.read_bytes()
            elif name.suffix == ".npz":
                with np.load(one) as left, np.load(two) as right:
                    same = all(np.array_equal(left[key], right[key]) for key in left)
            elif name.name == "data.json":
                same = read_json(one) == read_json(two)
            elif name.name == "pruned.json":
                same = (read_json(one) or {}).get("groups") == (read_json(two) or {}).get("groups")
            else:
                continue
        except Exception:
            same = False
        if not same:
            found.append(f"{name}: other content")
    return found


def snapshot(directory: RunDirectory) -> dict[str, bytes]:
    """All files of a run."""
    return {str(path): path.read_bytes() for path in directory.path.rglob("*") if path.is_file()}
