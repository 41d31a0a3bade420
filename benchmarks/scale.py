"""How large the measured problem is: the one that docs/performance.md reports, and a miniature for tests."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Scale:
    """Sizes and repeats.

    Attributes:
        model: overrides of the configuration that choose model and image.
        batch_size: training images per step.
        threads: CPU threads; None: all cores.
        rounds: repeats of figures that take a training step each; `many` of those that take milliseconds.
        steps: steps of the epoch that `overhead` and `memory` run.
        states: states of the run whose cost is added up.
        matrices: sides of the square matrix products that the best rate is looked for with.
        demo: overrides of the demo matrix; `sweep`, after them, of the runs of one dataset and seed that share a state 0.
        repeats_demo: how often the demo matrix is run; `repeats_memory` the run whose memory is measured;
            `repeats_sweep` the planning of sweeps.
        cells: runs of the large and of the small sweep whose cost per run is compared.
    """

    model: tuple[str, ...] = ("model=vit_small", "model.pretrained=false")
    batch_size: int = 64
    threads: int | None = None
    rounds: int = 9
    many: int = 25
    steps: int = 24
    states: int = 16
    matrices: tuple[int, ...] = (2048, 3072, 4096)
    demo: tuple[str, ...] = ()
    sweep: tuple[str, ...] = (
        "schedule.states=3",
        "method=refill,rsst",
        "method.criterion=magnitude,group_magnitude,taylor,random",
        "schedule.target=0.5,0.7,0.9",
    )
    repeats_demo: int = 2
    repeats_memory: int = 5
    repeats_sweep: int = 3
    cells: tuple[int, int] = (500, 50)

    def of(self, model: tuple[str, ...], miniature: tuple[str, ...], batch_size: int) -> Scale:
        """The same of another model: overrides that choose it, and that choose its miniature, which keeps the batch."""
        return replace(self, model=miniature) if self is MINI else replace(self, model=model, batch_size=batch_size)


FULL = Scale()

MINI = Scale(
    model=("model=vit_micro", "model.patch_size=8", "model.depth=2"),
    batch_size=16,
    threads=1,
    rounds=2,
    many=2,
    steps=3,
    states=3,
    matrices=(64,),
    demo=("schedule.states=2", "schedule.epochs=2", "schedule.epochs_first=1"),
    sweep=("method=refill,rsst",),
    repeats_demo=1,
    repeats_memory=1,
    repeats_sweep=1,
    cells=(4, 2),
)
"""Seconds instead of minutes: shows that every figure can be measured, not what it is."""
