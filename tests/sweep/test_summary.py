"""The table at the end of a sweep: a row a run, named by what tells it from the others."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import prune
from prune.base.files import write_jsonl
from prune.rundir.directory import RunDirectory
from prune.sweep.summary import print_summary
from tests.conftest import Compose
from tests.report.sweep import write_flat
from tests.sweep.sweeps import write_run


def written(
    compose_tiny: Compose, *overrides: str, version: str | None = prune.__version__, state_0_of: str | None = None
) -> RunDirectory:
    """A finished run: three states of two epochs."""
    dense = None if state_0_of is None else {"run": state_0_of}
    directory = write_run(compose_tiny(*overrides), status="done", starts=[{"version": version}], dense=dense)
    line = {"val_accuracy_best": 80.0, "test_accuracy_best": 81.5, "parameters": 5000, "macs": 10**6, "seconds": 3.0}
    write_jsonl(directory.states, [{"state": state, **line} for state in range(3)])
    epochs = [(state, epoch) for state in range(3) for epoch in range(2)]
    write_jsonl(directory.metrics, [{"state": s, "epoch": e, "val_accuracy": 80.0, "seconds": 1.5} for s, e in epochs])
    return directory


def summary(*directories: RunDirectory, width: int = 140) -> str:
    text = io.StringIO()
    print_summary(directories, Console(file=text, width=width))
    return text.getvalue()


def test_rows_are_named_by_what_differs(compose_tiny: Compose) -> None:
    overrides = [(f"method.criterion={c}", f"schedule.target={t}") for c in ("magnitude", "taylor") for t in (0.5, 0.7)]
    shown = summary(*(written(compose_tiny, *pair) for pair in overrides), written(compose_tiny, "method=dense"))
    lines = [line.split() for line in shown.splitlines()]
    rows = [n for n, line in enumerate(lines) if line[:1] == ["digits"]]
    named = [(lines[n][1], *(line[0] for line in lines[n + 1 : n + 3] if line and "=" in line[0])) for n in rows]
    expected = [("refill", f"criterion={c}", f"schedule.target={t}") for c in ("magnitude", "taylor") for t in (0.5, 0.7)]
    assert named == [*expected, ("dense",)]


def test_seeds_differ_in_nothing_that_is_not_shown(compose_tiny: Compose) -> None:
    shown = summary(*(written(compose_tiny, f"seed={seed}") for seed in range(2)))
    assert shown.count(" refill ") == 2
    assert "=" not in shown


def test_nothing_is_cut_in_a_narrow_terminal(compose_tiny: Compose) -> None:
    shown = summary(*(written(compose_tiny, f"method.criterion={c}") for c in ("magnitude", "taylor")), width=80)
    assert "…" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if "Files" not in line)
    assert shown.count("81.50") == 6
    assert shown.count("done") == 2
    assert "criterion=magnitude " in shown


@pytest.mark.parametrize("version", ["0.1.9", None])
def test_runs_of_another_version_are_named(compose_tiny: Compose, version: str | None) -> None:
    other, ours = written(compose_tiny, version=version), written(compose_tiny, "seed=1")
    shown = summary(other, ours)
    assert f"than this one ({prune.__version__}): {other.path.name} ({version or 'an earlier version'})." in shown
    assert "another name (name=…) or delete its folder" in shown
    assert "another version" not in summary(ours)


def test_a_state_0_that_was_taken_over_is_counted_once(compose_tiny: Compose) -> None:
    first = written(compose_tiny, "method=refill")
    others = [written(compose_tiny, f"method={method}", state_0_of=first.path.name) for method in ("rsst", "dense")]
    shown = summary(first, *others)
    assert (
        "2 of 3 runs took their state 0 over from another: together they computed 21.0 seconds, each with its own 27.0."
        in shown
    )
    assert shown.count(" 9.0 ") == 3, "what each of them costs by itself"
    assert "took their state 0" not in summary(first)


def test_naming_costs_a_launch_no_data_frames() -> None:
    code = "import sys, prune.sweep.summary; sys.exit(bool({'pandas', 'matplotlib', 'scipy', 'torch'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_different_models_are_compared_at_equal_size(tmp_path: Path) -> None:
    """The table of the report, below the table of the runs."""
    accuracies = {0: [80.0, 79.0, 81.0, 60.0]}
    folders = [*write_flat(tmp_path, "refill", accuracies), *write_flat(tmp_path, "refill", accuracies, model__depth=3)]
    shown = summary(*map(RunDirectory, folders))
    assert shown.count("at equal size") == 1
    assert "read off the straight line" in " ".join(shown.lower().split())
    assert "at equal size" not in summary(RunDirectory(folders[0]))
