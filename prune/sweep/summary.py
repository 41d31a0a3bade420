"""The table at the end of a sweep: what was trained, what pruning cost, what is left."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from prune.rundir.directory import RunDirectory, RunRecord, read_runs
from prune.rundir.status import effective_status

LAST_LINES = 8
"""Lines of a failed run's log that are shown."""

COLOURS = {"done": "green", "failed": "red", "preempted": "yellow", "lost": "red", "running": "cyan"}


def print_summary(directories: Sequence[RunDirectory], console: Console | None = None) -> None:
    """Print one row per run: test accuracy (of the model chosen on val) of state 0, the best pruned and the last state."""
    console = console or wide_enough(Console())
    table = Table(title="Test accuracy in percent; best models chosen on validation data", title_justify="left", box=SIMPLE)
    for heading in ("dataset", "method", "seed"):
        table.add_column(heading)
    for heading in ("state 0", "best (state)", "last (state)", "parameters", "MACs", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("status")
    runs, _ = read_runs(directory.path for directory in directories if directory.config.exists())
    for run in runs:
        table.add_row(*_row(run))
    console.print(table)
    for folder in sorted({str(directory.path.parent) for directory in directories}):
        console.print(f"Files: {folder}", soft_wrap=True, highlight=False)


def print_failures(failed: Sequence[tuple[RunDirectory, str]], console: Console | None = None) -> None:
    """For each failed run, on stderr: what happened, the last lines of its log, and where the log is."""
    from prune.sweep.submission import log_of

    console = console or Console(stderr=True)
    for directory, what in failed:
        console.print(f"error: {directory.path.name}: {what}", style="red", highlight=False, markup=False, soft_wrap=True)
        path = log_of(directory)
        if path is None:
            console.print("    (it left no log)", highlight=False)
            continue
        for line in path.read_text(errors="replace").splitlines()[-LAST_LINES:]:
            console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"    Log: {path}", highlight=False, markup=False, soft_wrap=True)


def wide_enough(console: Console) -> Console:
    """A pipe has no width: give the table room, so that no number is cut."""
    return console if console.is_terminal else Console(width=140)


def _row(run: RunRecord) -> list[str]:
    config, states = run.config, run.states
    status = effective_status(run.status).get("status", "?")
    cells = [config["dataset"]["name"], config["method"]["name"], str(config["seed"])]
    if states:
        first, last = states[0], states[-1]
        best = max(states[1:] or states, key=lambda line: line["val_accuracy_best"])
        cells += [
            f"{first['test_accuracy_best']:.2f}",
            *(f"{line['test_accuracy_best']:.2f} ({line['state']})" for line in (best, last)),
            f"{_short(first['parameters'])} → {_short(last['parameters'])}",
            f"{_short(first['macs'])} → {_short(last['macs'])}",
            f"{sum(line['seconds'] for line in states):.1f}",
        ]
    else:
        cells += ["–"] * 6
    colour = COLOURS.get(status, "white")
    return [*cells, f"[{colour}]{status}[/{colour}]"]


def _short(count: int) -> str:
    """Three significant digits with a unit."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
