"""The demo matrix, whole command, beside the same four trainings by the reference loop; both from a cold start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.timing import clock, quartiles, ratios, take_turns
from prune.rundir.reader import find_runs

ROOT = Path(__file__).resolve().parent.parent
CELLS = [(dataset, method) for dataset in ("digits", "digit_pairs") for method in ("refill", "rsst")]


def call(command: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def demo(scale: Scale, folder: Path) -> Figure:
    """Seconds of the command / seconds of the reference loop; the accuracies of both are in the notes."""
    file, counter = folder / "reference.json", 0

    def ours() -> None:
        nonlocal counter
        counter += 1  # a fresh folder, or the runs would be done already
        matrix = ["dataset=digits,digit_pairs", "method=refill,rsst", f"outputs={folder / f'demo{counter}'}"]
        call([sys.executable, "launch.py", "-m", "experiment=demo", *matrix, *scale.demo])

    def theirs() -> None:
        arguments: list[str] = []
        for dataset, method in CELLS:
            arguments += ["--", "experiment=demo", f"dataset={dataset}", f"method={method}", *scale.demo]
        call([sys.executable, "-m", "benchmarks.reference_loop", str(file), *arguments])

    times = take_turns({"ours": ours, "theirs": theirs}, scale.repeats_demo, warmup=0, timer=clock)
    return Figure.of(
        "demo",
        ratios(times["ours"], times["theirs"]),
        0.8,
        True,
        seconds=quartiles(times["ours"])[1],
        reference_seconds=quartiles(times["theirs"])[1],
        accuracies=accuracies(folder / "demo1" / "demo", json.loads(file.read_text())),
    )


def accuracies(sweep: Path, reference: list[list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Per cell, test accuracy in percent (of the epoch best on validation) of the dense and of the last state."""
    runs = {(run.config["dataset"]["name"], run.config["method"]["name"]): run.states for run in find_runs(sweep)[0]}
    return {
        f"{dataset} {method}": {
            "dense": runs[dataset, method][0]["test_accuracy_best"],
            "dense_reference": states[0]["test_best"],
            "pruned": runs[dataset, method][-1]["test_accuracy_best"],
            "pruned_reference": states[-1]["test_best"],
        }
        for (dataset, method), states in zip(CELLS, reference, strict=True)
    }
