"""`python -m prune analyse outputs/NAME`: what pruning did to the models of a sweep, measured once and kept beside them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from prune.base.errors import UserError
from prune.base.registries import ANALYSES
from prune.base.text import literal, printable, ranges

if TYPE_CHECKING:
    from prune.analysis.progress import ProgressBar
    from prune.analysis.runs import AnalysedRun
    from prune.analysis.work import Item


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
    from prune.analysis.progress import ProgressBar
    from prune.analysis.runs import AnalysedRun
    from prune.analysis.work import Item
    from prune.engine.device import choose_device, set_precision
    from prune.rundir.reader import find_runs

    device = choose_device(arguments.device, "--device ")
    set_precision("float32")
    ending = Ending()
    work: list[tuple[AnalysedRun, list[int]]] = []
    for sweep in dict.fromkeys(arguments.sweeps):
        records, unreadable = find_runs(sweep)
        for broken in unreadable:
            ending.failed(broken.id, broken.why)
        for record in records:
            try:
                opened = AnalysedRun(record, device, arguments.root)
                work.append((opened, states_of(opened, arguments.states)))
            except UserError as error:
                ending.failed(record.id, str(error))
    with ProgressBar(sum(len(states) * len(names) for _, states in work)) as bar:
        for opened, states in work:
            for state, name in product(states, names):
                _analyse(Item(opened, state, name, arguments.images), arguments.again, bar, ending)
            opened.close()
    ending.show(arguments.sweeps)
    return 1 if ending.failures else 0


def _analyse(item: Item, again: bool, bar: ProgressBar, ending: Ending) -> None:
    from prune.analysis.work import compute, stored

    where = f"{item.run.record.id}, state {item.state}"
    bar.begin(f"{where}: {item.name}")
    try:
        found = None if again else stored(item)
        reason = compute(item, bar.track) if found is None else found.refused
        ending.done(item.name, where, found is not None, reason)
    except UserError as error:
        ending.failed(where, str(error), item.name)
    bar.done()


@dataclass
class Ending:
    """What became of each analysis of each state, for the command's last lines.

    Attributes:
        counts: what was done → how often.
        refused: analysis and reason → where.
        failures: where, and why it could not be → the analyses; none for a run that could not be opened.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refused: dict[str, list[str]] = field(default_factory=dict)
    failures: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def done(self, name: str, where: str, before: bool, reason: str | None) -> None:
        """`before`: it was there already; `reason`: why there are no numbers, if so."""
        self.counts["there already" if before else "refused" if reason else "computed"] += 1
        if reason:
            self.refused.setdefault(f"{name}: {reason}", []).append(where)

    def failed(self, where: str, why: str, *names: str) -> None:
        self.failures.setdefault((where, why), []).extend(names)

    def show(self, sweeps: list[Path]) -> None:
        from rich.console import Console

        console = Console()
        for reason, where in self.refused.items():
            some = "; ".join(where[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")
            console.print(literal(f"{reason} [{some}]"), style="yellow", soft_wrap=True)
        for (place, why), names in self.failures.items():
            print(f"error: {printable(', '.join([place, *names]))}: {printable(why)}", file=sys.stderr)
        counts = dict(self.counts)
        if impossible := sum(max(1, len(names)) for names in self.failures.values()):
            counts["not possible"] = impossible
        text = ", ".join(f"{count} {what}" for what, count in counts.items())
        console.print(literal(f"Analyses: {text}."), soft_wrap=True)
        if self.counts:
            console.print(literal(f"python -m prune report {' '.join(map(str, sweeps))} shows them."), soft_wrap=True)


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
