"""Figures that compare training steps: compact with dense, penalised with plain, a whole run with a masked one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import compact_state, dense_state, make_job, one_step
from prune.methods.rsst import RSST

REFILL = ("method=refill", "method.rewind=none")

PRUNED = (*REFILL, "schedule.states=2", "schedule.target=0.7")
"""One state at 70 %."""


def compact_step(scale: Scale, folder: Path) -> Figure:
    """Training step at 70 % / dense training step."""
    return compact_figure("compact_step", 0.34, scale, folder)


def compact_figure(name: str, limit: float, scale: Scale, folder: Path) -> Figure:
    """Training step at 70 % / dense training step, of the scale's model."""
    job = make_job(folder, scale, *PRUNED)
    small = compact_state(job, 1)
    times = take_turns({"dense": one_step(job, dense_state(job)), "compact": one_step(job, small)}, scale.rounds)
    macs = small.sizes()["macs"] / job.architecture.structure.macs()
    rounds = ratios(times["compact"], times["dense"])
    return Figure.of(name, rounds, limit, True, macs_left=macs, dense_seconds=quartiles(times["dense"])[1])


def penalty_step(scale: Scale, folder: Path) -> Figure:
    """RSST step with penalty / the same step without."""
    # A ceiling that leaves the weights as they are over so few steps: time does not depend on λ.
    rsst = ("method=rsst", "method.penalty.ceiling=1e-3", "method.penalty.schedule=x")
    job = make_job(folder, scale, *rsst, "schedule.states=2", "schedule.target=0.7")
    state, method = dense_state(job, 1), job.method
    assert isinstance(method, RSST)
    state.mark(state.choose(state.score()))
    step, ceiling = one_step(job, state), method.ceiling

    def with_ceiling(value: float) -> None:
        method.ceiling = value
        step()

    calls = {"with": lambda: with_ceiling(ceiling), "without": lambda: with_ceiling(0.0)}
    times = take_turns(calls, 2 * scale.rounds)
    rounds = ratios(times["with"], times["without"])
    return Figure.of("penalty_step", rounds, 1.02, True, step_seconds=quartiles(times["without"])[1])


def run_cost(scale: Scale, folder: Path) -> Figure:
    """Refill's states, each step as long as measured / the same number of dense steps.

    A masked run multiplies its weights by masks in every step as well; that is left out, so it is not made to look slower
    than it is. Every state has the same number of steps, so the mean over states is the ratio of the runs.
    """
    job = make_job(folder, scale, *REFILL, f"schedule.states={scale.states}", "schedule.target=0.7")
    calls = {"dense": one_step(job, dense_state(job))}
    left = [1.0]
    for index in range(1, scale.states):
        state = compact_state(job, index)
        calls[str(index)] = one_step(job, state)
        left.append(state.sizes()["macs"] / job.architecture.structure.macs())
    times = take_turns(calls, max(2, scale.rounds // 3))
    rounds = [sum(seconds) / (scale.states * seconds[0]) for seconds in zip(*times.values(), strict=True)]
    per_state = [quartiles(ratios(of_state, times["dense"]))[1] for of_state in times.values()]
    macs = sum(left) / len(left)
    return Figure.of("run_cost", rounds, 0.62, True, macs_left=macs, step_by_state=per_state, macs_by_state=left)
