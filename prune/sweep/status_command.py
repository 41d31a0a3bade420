"""`prune status outputs/<name>`: what each run of a sweep is doing. Reads files only; SLURM is asked where it is there."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from prune.base.errors import UserError
from prune.base.text import count, literal, printable
from prune.rundir.reader import RunRecord, Unreadable, folders_of, run_folders
from prune.rundir.watching import Looks
from prune.sweep.hours import Speeds, hours_left
from prune.sweep.rows import Row, counts, row_of, table_of
from prune.sweep.slurm_queue import JobState, in_words
from prune.sweep.submission import slurm_jobs
from prune.sweep.summary import wide_enough

WATCH_SECONDS = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("sweep", type=Path, help="a sweep's folder, such as outputs/main, or one run's")
    parser.add_argument("--watch", action="store_true", help="keep the table up to date until every run has ended")
    parser.add_argument("--json", action="store_true", help="one JSON list of the runs instead of a table")
    parser.epilog = (
        "A run whose heartbeat is older than a minute reads as lost: it was killed, or its node is gone. "
        "The command that started a sweep goes on with everything that is not done."
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the table; 0 whatever the runs' fate."""
    if arguments.json and arguments.watch:
        raise UserError("--json and --watch do not go together; give one of them.")
    looks = Looks()
    runs = [looks.look(folder) for folder in folders_of(arguments.sweep)]
    if all(isinstance(run, Unreadable) for run in runs):
        raise UserError("; ".join(run.why for run in runs if isinstance(run, Unreadable)))
    if arguments.json:
        json.dump([row.to_json() for row in rows_of(runs)], sys.stdout, indent=2)
        print()
        return 0
    console = wide_enough(Console())
    if not arguments.watch:
        console.print(_view(rows_of(runs), arguments.sweep))
        left = hours_left([run for run in runs if isinstance(run, RunRecord)], Speeds(arguments.sweep.resolve().parent))
        if left is not None:
            line = f"To go: about {left[0]:.2g} hours, at the speed of {left[1]}."
            console.print(literal(line), highlight=False, soft_wrap=True)
        return 0
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                rows = rows_of(runs)
                live.update(_view(rows, arguments.sweep), refresh=True)
                if all(row.over for row in rows):
                    return 0
                time.sleep(WATCH_SECONDS)
                runs = [looks.look(folder) for folder in run_folders(arguments.sweep)]
    except KeyboardInterrupt:
        return 0


def rows_of(runs: Sequence[RunRecord | Unreadable]) -> list[Row]:
    """A row for each run. SLURM tells of those that wait for a job, where there is SLURM."""
    readable = [run for run in runs if isinstance(run, RunRecord)]
    waiting = [run.directory for run in readable if run.status.get("status") in ("queued", "preempted")]
    jobs = slurm_jobs(waiting) or {}
    return [_row(run, jobs) for run in runs]


def _row(run: RunRecord | Unreadable, jobs: Mapping[Path, JobState]) -> Row:
    job = None if isinstance(run, Unreadable) else jobs.get(run.directory.path)
    if job is None:
        return row_of(run)
    if job.over:
        return row_of(run, ended=in_words(job))
    return row_of(run, f"queued ({job.reason})" if job.state == "PENDING" and job.reason else None)


def _view(rows: list[Row], sweep: Path) -> Group:
    problems = [Text(printable(f"{row.run}: {row.error}"), style="red") for row in rows if row.error]
    return Group(table_of(rows, str(sweep)), Text(f"{count(len(rows), 'run')}: {counts(rows)}"), *problems)
