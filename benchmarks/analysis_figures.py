"""What `prune analyse` costs: the demo's four runs, all states, beside their training; and its memory as images grow."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.demo_figure import ROOT, call
from benchmarks.figure import Figure
from benchmarks.scale import FULL, MINI, Scale
from benchmarks.timing import clock
from prune.base.registries import ANALYSES

STREAMING = ("attention", "similarity", "redundancy")
"""Analyses that keep moments or sums of every batch."""


def analyse(scale: Scale, folder: Path) -> Figure:
    """Seconds of all analyses of all states of the demo / seconds in which its four cells were trained, both as commands."""
    matrix = ["dataset=digits,digit_pairs", "method=refill,rsst", f"outputs={folder}", "name=demo"]
    launch = [sys.executable, "launch.py", "-m", "experiment=demo", *matrix, *scale.demo]
    training = clock(lambda: call(launch))
    seconds = clock(lambda: call([sys.executable, "-m", "prune", "analyse", str(folder / "demo"), "--states", "all"]))
    return Figure.of("analyse", [seconds / training], 2.0, True, seconds=seconds, training_seconds=training)


def analyse_memory(scale: Scale, folder: Path) -> Figure:
    """Peak memory of the analyses that look at activations, with four times as many images / with few."""
    few = 256 if scale is MINI else 512
    peaks = {count: _peak(scale, folder / str(count), count) for count in (few, 4 * few)}
    ratio = peaks[4 * few] / peaks[few]
    return Figure.of("analyse_memory", [ratio], 1.1, True, few=few, **{f"megabytes_{n}": mb for n, mb in peaks.items()})


def _peak(scale: Scale, folder: Path, count: int) -> float:
    """Megabytes, in a process of its own."""
    folder.mkdir()
    size = "mini" if scale is MINI else "full"
    command = [sys.executable, "-m", "benchmarks.analysis_figures", size, str(folder), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _measure(scale: Scale, folder: Path, count: int) -> float:
    """Peak memory of this process after the analyses of a dense model and one at 70 % on so many images, in megabytes."""
    from benchmarks.workbench import compact_state, compose, dense_state, random_images
    from prune.analysis.base import silently
    from prune.analysis.images import Images
    from prune.analysis.runs import Snapshot
    from prune.engine.job import prepare
    from prune.engine.stop import Stop
    from prune.rundir.directory import RunDirectory

    images = random_images(2 * scale.batch_size, val=count)
    config = compose(folder, *images, *scale.model, "hardware=cpu", f"optim.batch_size={scale.batch_size}", "schedule.states=2")
    directory = RunDirectory(folder / "job")
    directory.path.mkdir()
    job = prepare(config, directory, Stop(), scale.threads or 1)
    dense, small = dense_state(job), compact_state(job, 1)
    first, last = Snapshot(0, "best", dense.model.eval(), dense.alive), Snapshot(1, "best", small.model.eval(), small.alive)
    subject: Any = SimpleNamespace(
        state=1, now=last, dense=first, before=first, architecture=job.architecture, structure=job.architecture.structure,
        images=Images(job.loader, job.facts), track=silently,
    )  # fmt: skip
    for name in STREAMING:
        ANALYSES.load(name)().measure(subject)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(_measure(MINI if sys.argv[1] == "mini" else FULL, Path(sys.argv[2]), int(sys.argv[3])))
