"""`python -m prune analyse outputs/NAME`: what pruning did to the models of a sweep, measured once and kept beside them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.base.errors import UserError
from prune.base.registries import ANALYSES
from prune.base.text import literal, printable, ranges

if TYPE_CHECKING:
    from prune.analysis.runs import AnalysedRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sweeps", nargs="+", type=Path, metavar="outputs/NAME", help="folders of sweeps, or single run directories"
    )
    parser.add_argument("--only", metavar="NAME,…", help=f"only these of: {', '.join(ANALYSES.table)} (default: all)")
    parser.add_argument(
        "--states",
        default="0,last",
        metavar="N,…",
        help="finished states: numbers, ranges such as 1-5, `last`, or `all` (default: 0,last)",
    )
    parser.add_argument(
        "--images", type=_positive, metavar="N", help="validation images at most (default: each analysis has its own number)"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--root", type=Path, metavar="DIR", help="where the dataset's files are now, if they have moved")
    parser.add_argument("--again", action="store_true", help="also what is there already")
    parser.epilog = (
        "Writes to `analysis` in each run's directory. What is there and was computed from the same models and images is not "
        "computed again, so the same command goes on after an interruption. `prune report` shows the figures."
    )


def run(arguments: argparse.Namespace) -> int:
    """Compute what is missing, one line for what could not be; 1 if anything could not."""
    names = chosen(arguments.only)
    from prune.analysis.runs import AnalysedRun
    from prune.analysis.work import Item, compute, items, stored
    from prune.engine.device import choose_device
    from prune.rundir.reader import find_runs

    device = choose_device(arguments.device, "--device ")
    records, unreadable = [], []
    for sweep in dict.fromkeys(arguments.sweeps):
        found, broken = find_runs(sweep)
        records += found
        unreadable += broken
    failures = [f"{run.id}: {run.why}" for run in unreadable]
    work: list[Item] = []
    for record in records:
        opened = AnalysedRun(record, device, arguments.root)
        try:
            opened.config  # noqa: B018  (what it names may not be installed here)
            work += items([(opened, states_of(opened, arguments.states))], names, arguments.images)
        except UserError as error:
            failures.append(f"{record.id}: {error}")
    ended: Counter[str] = Counter()
    refused: dict[str, list[str]] = {}
    with _bar(len(work)) as bar:
        current: AnalysedRun | None = None
        for item in work:
            if current is not None and current is not item.run:
                current.close()
            current = item.run
            bar.begin(f"{item.run.record.id}, state {item.state}: {item.name}")
            try:
                before = None if arguments.again else stored(item)
                reason = compute(item, bar.track) if before is None else before.refused
                ended["there already" if before is not None else "refused" if reason else "computed"] += 1
                if reason:
                    refused.setdefault(f"{item.name}: {reason}", []).append(f"{item.run.record.id} ({item.state})")
            except UserError as error:
                failures.append(f"{item.run.record.id}, state {item.state}, {item.name}: {error}")
            bar.done()
    _print_end(arguments.sweeps, ended, refused, failures)
    return 1 if failures else 0


def chosen(only: str | None) -> list[str]:
    """The names of `--only`, each once; all that there are without it.

    Raises:
        UserError: for a name that is not known, which lists those that are.
    """
    every = [*ANALYSES.table, *(name for name in ANALYSES.names() if name not in ANALYSES.table)]
    if only is None:
        return every
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in every]
    if unknown or not names:
        raise UserError(f"--only={printable(only)} must be a list of {', '.join(every)}.")
    return list(dict.fromkeys(names))


def states_of(run: AnalysedRun, text: str) -> list[int]:
    """The states that `--states` means in a run, ascending.

    Raises:
        UserError: if it cannot be read, or names a state that is not finished.
    """
    finished, found = run.finished, set()
    if not finished:
        raise UserError("no state is finished yet.")
    for part in text.split(","):
        low, dash, high = (word.strip() for word in part.partition("-"))
        if part.strip() == "all":
            found |= set(finished)
        elif part.strip() == "last":
            found.add(finished[-1])
        elif low.isdecimal() and (high.isdecimal() if dash else not high):
            found |= set(range(int(low), int(high if dash else low) + 1))
        else:
            raise UserError(f"--states={printable(text)} must be a list of numbers, ranges such as 1-5, last or all.")
    missing = sorted(found - set(finished))
    if missing:
        raise UserError(f"--states={printable(text)}: state {ranges(missing)} is not finished; finished: {ranges(finished)}.")
    return sorted(found)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _print_end(sweeps: list[Path], ended: Counter[str], refused: dict[str, list[str]], failures: list[str]) -> None:
    from rich.console import Console

    console = Console()
    for reason, where in refused.items():
        console.print(literal(f"{reason} [{_some(where)}]"), style="yellow", soft_wrap=True)
    for failure in failures:
        print(f"error: {printable(failure)}", file=sys.stderr)
    counts = ", ".join(f"{count} {what}" for what, count in ended.items()) or "nothing"
    console.print(literal(f"Analyses: {counts}{f', {len(failures)} not possible' if failures else ''}."), soft_wrap=True)
    if ended:
        console.print(literal(f"python -m prune report {' '.join(map(str, sweeps))} shows them."), soft_wrap=True)


def _some(places: list[str]) -> str:
    return ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")


def _bar(total: int) -> Any:
    from prune.analysis.progress import ProgressBar

    return ProgressBar(total)
