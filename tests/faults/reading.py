"""What the reading commands say of a sweep of which one run is damaged: no traceback, and the other run as before."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

import prune
from prune.base.errors import UserError
from prune.cli import main
from prune.report.load import load as load_study
from prune.rundir.loading import load as load_model
from prune.rundir.reader import find_runs
from prune.sweep.monitor import Monitor
from prune.sweep.plan import make_plan, print_plan
from prune.sweep.summary import print_summary
from prune.tracking_wandb.points import History
from tests.faults.resume import Hung, in_time
from tests.faults.sweeps import Sweep

GOOD = ("same", "says so", "one sentence")
"""The same as without the damage; the damaged run's part is another; nothing but one sentence, which names the file."""


def command(*arguments: str) -> str:
    """What a command prints; what it complains of as `UserError`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(list(arguments))
    if code != 0:
        raise UserError(err.getvalue().removeprefix("error: ").strip())
    return out.getvalue()


def status(sweep: Sweep) -> tuple[Any, Any]:
    rows = {row["run"]: row for row in json.loads(command("status", str(sweep.folder), "--json"))}
    command("status", str(sweep.folder))
    return rows[sweep.run.path.name], rows[sweep.other.path.name]


def plan(sweep: Sweep) -> tuple[Any, Any]:
    cells = make_plan(sweep.configs)
    print_plan(cells, Console(file=io.StringIO(), width=160))
    told = [(cell.standing, cell.position, cell.epochs_left, cell.flops_left) for cell in cells]
    return told[0], told[1]


def summary(sweep: Sweep) -> tuple[Any, Any]:
    shown = io.StringIO()
    print_summary([sweep.run, sweep.other], Console(file=shown, width=200))
    rows = [line.split() for line in shown.getvalue().splitlines()]
    other = [row for row in rows if row[:1] == ["digits"] and row[2] == "1"]
    return [row for row in rows if row[:1] == ["digits"] and row[2] == "0"], other


def monitor(sweep: Sweep) -> tuple[Any, Any]:
    watching = Monitor([sweep.run, sweep.other], Silent())  # type: ignore[arg-type]
    watching.step()
    mine, other = watching.rows()
    return (mine, watching.failures.get(sweep.run.path)), (other, watching.failures.get(sweep.other.path))


class Silent:
    """A backend that knows of no jobs."""

    poll_seconds = 0.0

    def poll(self, _: Any) -> dict[Path, Any]:
        return {}

    def verdict(self, _: Any) -> str:
        return "ended"


def report(sweep: Sweep) -> tuple[Any, Any]:
    study = load_study([sweep.folder], "dense")
    parts = []
    for run in (sweep.run, sweep.other):
        frames = [frame[frame["directory"] == str(run.path)].drop(columns="run") for frame in (study.states, study.epochs)]
        parts.append(([rows_of(frame) for frame in frames], study.unreadable.get(run.path)))
    return parts[0], parts[1]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The values of each row: without what is missing, 2 and 2.0 being the same, whatever columns other runs' rows bring."""
    records = json.loads(frame.to_json(orient="records"))
    return [{key: _plain(value) for key, value in sorted(record.items()) if value is not None} for record in records]


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, int) else value


def written_report(sweep: Sweep) -> tuple[Any, Any]:
    """All of `prune report`, figures and pages too: a second or more."""
    command("report", str(sweep.folder), "--out", str(sweep.outputs / "report"), "--format", "md")
    return None, None


def export(sweep: Sweep) -> tuple[Any, Any]:
    found: list[Any] = []
    for run in (sweep.run, sweep.other):
        try:
            model = load_model(run.path)
        except UserError as error:
            if run is sweep.other or str(run.path) not in str(error):
                raise
            found.append(str(error))
        else:
            found.append(sum(float(tensor.double().sum()) for tensor in model.state_dict().values()))
            assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    return found[0], found[1]


_FOLDER = re.compile(r"/[^ ,'\"]*/outputs/")
"""Where a copy lies, which is no difference."""


def results(sweep: Sweep) -> tuple[Any, Any]:
    table = prune.results(sweep.folder)
    parts = [rows_of(table[table["directory"] == str(run.path)]) for run in (sweep.run, sweep.other)]
    return parts[0], parts[1]


def wandb_sync(sweep: Sweep) -> tuple[Any, Any]:
    """What `prune wandb-sync` would send; sending has tests of its own."""
    runs, unreadable = find_runs(sweep.folder)
    told: dict[Path, Any] = {run.path: run.why for run in unreadable}
    for run in runs:
        points = [(point.step, point.values, point.units) for point in History.read(run).points()]
        told[run.directory.path] = points, run.problems
    return told[sweep.run.path], told[sweep.other.path]


COMMANDS: dict[str, Callable[[Sweep], tuple[Any, Any]]] = {
    act.__name__: act for act in (status, plan, summary, monitor, report, export, results, wandb_sync)
}


def read(act: Callable[[Sweep], tuple[Any, Any]], sweep: Sweep, before: tuple[Any, Any], damaged: Path) -> tuple[str, str]:
    """A word of `GOOD`, or what went wrong; and a text for a person.

    Args:
        before: what it told of the two runs of the undamaged sweep.
    """
    try:
        with in_time():
            mine, other = act(sweep)
    except Hung:
        return "hung", ""
    except UserError as error:
        text = str(error)
        return ("one sentence", text) if "\n" not in text and str(damaged) in text else ("unnamed", text)
    except BaseException as error:
        return "crashed", f"{type(error).__name__}: {error}"
    told, whole = (tuple(_FOLDER.sub("", str(part)) for part in parts) for parts in ((mine, other), before))
    if told[1] != whole[1]:
        return "spoilt", f"{told[1]} instead of {whole[1]}"
    return ("same", "") if told[0] == whole[0] else ("says so", told[0][:300])
