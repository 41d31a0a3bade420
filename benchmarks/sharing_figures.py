"""What a sweep costs that trains a shared state 0 once, beside the same sweep with `share_dense=false`; whole commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.demo_figure import call
from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.timing import clock, quartiles, ratios, take_turns

MATRIX = ("dataset=digits,digit_pairs", "method=refill,rsst")


def shared_demo(scale: Scale, folder: Path) -> Figure:
    """The demo matrix: of its four runs two take state 0 over."""
    return _shared("shared_demo", scale, folder, (*MATRIX, *scale.demo), 0.80)


def shared_sweep(scale: Scale, folder: Path) -> Figure:
    """Runs of one dataset and seed that differ in method, criterion and rate: all but one take state 0 over."""
    return _shared("shared_sweep", scale, folder, ("dataset=digits", *scale.demo, *scale.sweep), 0.75)


def _shared(name: str, scale: Scale, folder: Path, overrides: Sequence[str], limit: float) -> Figure:
    """Seconds of the command with sharing / without, in turns; in a fresh folder, or the runs would be done already."""
    made = 0

    def launch(share: str) -> None:
        nonlocal made
        made += 1
        place = (f"outputs={folder / str(made)}", f"share_dense={share}")
        call([sys.executable, "launch.py", "-m", "experiment=demo", *overrides, *place])

    calls = {share: partial(launch, share) for share in ("true", "false")}
    times = take_turns(calls, scale.repeats_demo, warmup=0, timer=clock)
    seconds = {"seconds": quartiles(times["true"])[1], "seconds_without": quartiles(times["false"])[1]}
    return Figure.of(name, ratios(times["true"], times["false"]), limit, True, **seconds)
