"""Plots of `python -m benchmarks growth`: seconds per step, beside what pure proportionality to the arithmetic would give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from benchmarks.growth import Point

LABELS = {
    "rate": "share of heads and neurons removed",
    "depth": "blocks",
    "width": "embedding width (ViT-Tiny, Small, Base)",
    "batch": "images per step",
    "tokens": "tokens (batch 16)",
}


def draw(series: dict[str, list[Point]], folder: Path) -> None:
    """One PNG per series, `growth-<series>.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, points in series.items():
        figure = Figure(figsize=(4.2, 3.0), dpi=110)
        axes = figure.subplots()
        values = [point.value for point in points]
        seconds = [point.seconds for point in points]
        spread = [[p.seconds - p.low for p in points], [p.high - p.seconds for p in points]]
        # The line through the point with the most arithmetic: what every other would take at the same rate.
        largest = max(points, key=lambda point: point.gflop)
        axes.errorbar(values, seconds, yerr=spread, marker="o", markersize=4, capsize=2, label="measured")
        ideal = [largest.seconds * point.gflop / largest.gflop for point in points]
        axes.plot(values, ideal, linestyle="--", color="0.5", label="in proportion to FLOPs")
        if name in ("batch", "tokens", "width"):
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.set_xticks(values, [f"{value:g}" for value in values])
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(LABELS.get(name, name))
        axes.set_ylabel("seconds per training step")
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        figure.savefig(folder / f"growth-{name}.png")
