"""How the time of a training step grows with what it has to do: rate, depth, width, batch, tokens."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.cpu import machine
from benchmarks.scale import Scale
from benchmarks.timing import quartiles, take_turns
from benchmarks.workbench import compact_state, dense_state, make_job, one_step


@dataclass(frozen=True)
class Point:
    """One measured step: what was varied and to which value, its seconds (median, quartiles) and its arithmetic."""

    series: str
    value: float
    label: str
    seconds: float
    low: float
    high: float
    gflop: float


@dataclass(frozen=True)
class Case:
    series: str
    value: float
    label: str
    overrides: tuple[str, ...] = ()
    model: str | None = None
    batch_size: int | None = None
    rate: float = 0.0


def cases(scale: Scale) -> list[Case]:
    """What is measured. Each series varies one thing and leaves the rest as the scale has it."""
    result = [Case("rate", rate / 10, f"{rate / 10:.1f}", rate=rate / 10) for rate in range(10)]
    if scale.rounds <= 2:
        return [*result[:2], Case("batch", 8, "8", batch_size=8)]
    custom = "model.name=custom"
    result += [Case("depth", depth, str(depth), (custom, f"model.depth={depth}")) for depth in (3, 6, 9, 12)]
    widths = {"vit_tiny": 192, "vit_small": 384, "vit_base": 768}
    result += [Case("width", width, name, model=name) for name, width in widths.items()]
    result += [Case("batch", size, str(size), batch_size=size) for size in (8, 16, 32, 64, 128)]
    tokens = {16: 5, 8: 17, 4: 65, 2: 257}
    for patch, count in tokens.items():
        result.append(Case("tokens", count, f"patch {patch}", (f"model.patch_size={patch}",), batch_size=16))
    return result


def prepare(case: Case, scale: Scale, folder: Path) -> tuple[Callable[[], None], float]:
    """A training step of the case, and its GFLOP."""
    batch = case.batch_size or scale.batch_size
    model = scale.model if case.model is None else (f"model={case.model}", "model.pretrained=false")
    sized = replace(scale, model=(*model, *case.overrides), batch_size=batch)
    pruning = ("method=refill", "method.rewind=none", "schedule.states=2")
    job = make_job(folder, sized, *pruning, *([f"schedule.target={case.rate}"] if case.rate else []))
    state = compact_state(job, 1) if case.rate else dense_state(job)
    return one_step(job, state), 6e-9 * batch * state.sizes()["macs"]


def measure(members: list[Case], scale: Scale, folder: Path) -> list[Point]:
    """The steps of one series, timed in turns: a machine that slows down does not bend the curve."""
    prepared = {case.label: prepare(case, scale, folder) for case in members}
    times = take_turns({label: step for label, (step, _) in prepared.items()}, max(2, scale.rounds // 2))
    points = []
    for case in members:
        low, middle, high = quartiles(times[case.label])
        points.append(Point(case.series, case.value, case.label, middle, low, high, prepared[case.label][1]))
    return points


def run(scale: Scale, file: Path | None, plots: Path | None) -> None:
    """Measure, print a table per series, write the numbers and draw them."""
    console, found = Console(width=120), cases(scale)
    series: dict[str, list[Point]] = {}
    for name in dict.fromkeys(case.series for case in found):
        with tempfile.TemporaryDirectory() as folder:
            series[name] = measure([case for case in found if case.series == name], scale, Path(folder))
    for name, members in series.items():
        table = Table(title=f"step time against {name}")
        for column in (name, "GFLOP", "seconds", "quartiles", "GFLOP/s"):
            table.add_column(column, justify="right")
        for p in members:
            spread = f"{p.low:.3g} … {p.high:.3g}"
            table.add_row(p.label, f"{p.gflop:.4g}", f"{p.seconds:.4g}", spread, f"{p.gflop / p.seconds:.4g}")
        console.print(table)
    if file is not None:
        points = [vars(point) for members in series.values() for point in members]
        file.write_text(json.dumps({"points": points, "machine": machine()}, indent=2) + "\n")
    if plots is not None:
        from benchmarks.plots import draw

        draw(series, plots)
