"""The arithmetic rate of a training step, as a fraction of the best rate at which torch multiplies matrices here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.timing import clock, quartiles, take_turns
from benchmarks.workbench import dense_state, make_job, one_step, training_flops

Call = Callable[[], object]


class PlainStep:
    """The reference loop's dense step, in a process of its own: ours tunes the memory allocator of this one."""

    def __init__(self, scale: Scale):
        command = [sys.executable, "-m", "benchmarks.plain_step", str(scale.batch_size), str(torch.get_num_threads())]
        self.process = subprocess.Popen(
            [*command, *scale.model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def seconds(self) -> float:
        """Have it make one step; the time that it measured itself."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return float(json.loads(self.process.stdout.readline()))

    def __enter__(self) -> PlainStep:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def square(side: int) -> Call:
    left, right, out = torch.randn(side, side), torch.randn(side, side), torch.empty(side, side)
    return lambda: torch.mm(left, right, out=out)


def matmul_fraction(scale: Scale, folder: Path) -> Figure:
    """(FLOPs of a step / its seconds) / (the best torch matmul's FLOP/s), and the same of the plain loop."""
    job = make_job(folder, scale)
    flops = training_flops(job)
    with PlainStep(scale) as plain:
        calls: dict[str, Call] = {f"mm {side}": square(side) for side in scale.matrices}
        calls |= {"step": one_step(job, dense_state(job)), "plain": plain.seconds}

        def timer(call: Call) -> float:
            return plain.seconds() if call == plain.seconds else clock(call)

        times = take_turns(calls, scale.rounds, warmup=2, timer=timer)
    rates = {side: [2 * side**3 / seconds for seconds in times[f"mm {side}"]] for side in scale.matrices}
    side = max(rates, key=lambda candidate: quartiles(rates[candidate])[1])
    ours = [flops / seconds / rate for seconds, rate in zip(times["step"], rates[side], strict=True)]
    theirs = [flops / seconds / rate for seconds, rate in zip(times["plain"], rates[side], strict=True)]
    return Figure.of(
        "matmul_fraction",
        ours,
        0.85,
        False,
        plain_loop=quartiles(theirs)[1],
        step_seconds=quartiles(times["step"])[1],
        plain_seconds=quartiles(times["plain"])[1],
        matmul_gflops=quartiles(rates[side])[1] / 1e9,
        matrix=side,
    )
