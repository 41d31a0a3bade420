"""The table at the end of a sweep: what was trained, what pruning cost, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from prune.base.text import literal, printable, rounded
from prune.report.variants import counted, labels, model_names
from prune.rundir.computed import computed
from prune.rundir.directory import RunDirectory
from prune.rundir.reader import RunRecord, is_run, read_runs
from prune.rundir.status import effective_status
from prune.sweep.submission import log_of
from prune.sweep.versions import about_versions, other_version

LAST_LINES = 8
"""Lines of a failed run's log that are shown."""

WORDS = ("dataset", "method", "seed")
NUMBERS = ("state 0", "best (state)", "last (state)", "parameters", "MACs", "seconds")

NARROW, WIDE_ONLY = 110, ("MACs", "seconds")
"""A terminal of fewer characters than this is spared these columns, so that none is cut."""

NARROWEST = {"state 0": 6, "best (state)": 7, "last (state)": 7, "parameters": 10}
"""Characters of the other columns of numbers there; their cells break at spaces."""

LONGEST_NAME = 24
"""Characters of a line of a method's name that are not broken where there is no room."""

COLOURS = {"done": "green", "failed": "red", "preempted": "yellow", "lost": "red", "unreadable": "red", "running": "cyan"}


def print_summary(directories: Sequence[RunDirectory], console: Console | None = None) -> None:
    """Print one row per run: test accuracy (of the model chosen on val) of state 0, the best pruned and the last state.

    Rows are named as the report names configurations: by their method and by what differs between those of one method.
    """
    console = console or wide_enough(Console())
    title = "Test accuracy in percent; best models chosen on validation data"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    narrow = console.width < NARROW
    shown = [heading for heading in (*WORDS, *NUMBERS, "status") if not narrow or heading not in WIDE_ONLY]
    runs, unreadable = read_runs(directory.path for directory in directories if is_run(directory.path))
    settings = [counted(run.config) for run in runs]
    names = [literal(name).replace(" · ", "\n").replace(", ", "\n") for name in labels(settings)]
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    for heading in shown:
        if heading in NUMBERS:
            table.add_column(heading, justify="right", overflow="fold", max_width=NARROWEST[heading] if narrow else None)
        else:
            least = min(longest, LONGEST_NAME) if heading == "method" else len(heading)
            table.add_column(heading, overflow="fold", min_width=least)
    for run, name in zip(runs, names, strict=True):
        row = _row(run, name)
        table.add_row(*(row.get(heading, "–") for heading in shown))
    console.print(table)
    found = computed(runs)
    if found.taken_over:
        over = f"{found.taken_over} of {len(runs)} runs took their state 0 over from another"
        times = f"together they computed {found.seconds:.1f} seconds, each with its own {found.each_alone:.1f}"
        console.print(f"{over}: {times}.", soft_wrap=True, highlight=False)
    for run_folder in unreadable:
        console.print(printable(run_folder.why), soft_wrap=True, highlight=False, markup=False)
    versions = about_versions({run.id: version for run in runs if (version := other_version(run))})
    if versions:
        console.print(versions, soft_wrap=True, highlight=False, markup=False)
    if len(set(model_names(settings))) > 1:
        _print_at_equal_size([run.directory.path for run in runs if run.states], console)
    for folder in sorted({str(directory.path.parent) for directory in directories}):
        console.print(f"Files: {literal(folder)}", soft_wrap=True, highlight=False)


def _print_at_equal_size(folders: Sequence[Path], console: Console) -> None:
    """What different models reach at equal size, as `prune report` prints it."""
    # Data frames take a second to import: only where there is something to compare.
    from prune.report.compare import DENSE
    from prune.report.findings import Findings
    from prune.report.load import load
    from prune.report.tables.equal_size import at_equal_size
    from prune.report.terminal import equal_size

    if not folders:
        return
    findings = Findings(load(folders, DENSE), DENSE)
    for dataset in findings.study.datasets:
        table = at_equal_size(findings, dataset)
        if table is not None:
            console.print(equal_size(table))


def print_failures(failed: Sequence[tuple[RunDirectory, str]], console: Console | None = None) -> None:
    """For each failed run, on stderr: what happened, the last lines of its log, and where the log is."""
    console = console or Console(stderr=True)
    for directory, what in failed:
        console.print(
            f"error: {directory.path.name}: {printable(what)}", style="red", highlight=False, markup=False, soft_wrap=True
        )
        path = log_of(directory)
        if path is None:
            console.print("    (it left no log)", highlight=False)
            continue
        for line in path.read_text(errors="replace").splitlines()[-LAST_LINES:]:
            console.print(f"    {printable(line)}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"    Log: {printable(path)}", highlight=False, markup=False, soft_wrap=True)


def wide_enough(console: Console) -> Console:
    """A pipe has no width: give the table room, so that no number is cut."""
    return console if console.is_terminal else Console(width=140)


def _row(run: RunRecord, name: str) -> dict[str, str]:
    """Heading → cell; without numbers where no state is finished."""
    config, states = run.config, run.states
    status = effective_status(run.status).get("status", "?")
    row = dict(zip(WORDS, (literal(config["dataset"]["name"]), name, str(config["seed"])), strict=True))
    row["status"] = f"[{COLOURS.get(status, 'white')}]{status}[/]"
    if not states:
        return row
    first, last = states[0], states[-1]
    best = max(states[1:] or states, key=lambda line: line["val_accuracy_best"])
    numbers = (
        f"{first['test_accuracy_best']:.2f}",
        *(f"{line['test_accuracy_best']:.2f} ({line['state']})" for line in (best, last)),
        f"{rounded(first['parameters'])} → {rounded(last['parameters'])}",
        f"{rounded(first['macs'])} → {rounded(last['macs'])}",
        f"{sum(line['seconds'] for line in states):.1f}",
    )
    return row | dict(zip(NUMBERS, numbers, strict=True))
