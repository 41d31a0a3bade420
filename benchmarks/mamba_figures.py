"""Figures of Vim-Tiny: a step at 70 % beside a dense one, and a dense step beside one whose scan autograd takes apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.step_figures import PRUNED, compact_figure
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import dense_state, make_job, one_step
from prune.architectures import mamba_model

TINY, MICRO = ("model=mamba_tiny",), ("model=mamba_micro", "model.patch_size=8")
BATCH = 16


def mamba_compact_step(scale: Scale, folder: Path) -> Figure:
    """Training step at 70 % / dense training step; 65 tokens, batch 16."""
    return compact_figure("mamba_compact_step", 0.5, scale.of(TINY, MICRO, BATCH), folder)


def mamba_plain_step(scale: Scale, folder: Path) -> Figure:
    """Dense training step / the same step with the scan as its formula reads, one time step after the other under autograd."""
    job = make_job(folder, scale.of(TINY, MICRO, BATCH), *PRUNED)
    step = one_step(job, dense_state(job))

    def plain() -> None:
        with _plain_scan():
            step()

    times = take_turns({"ours": step, "plain": plain}, scale.rounds)
    rounds = ratios(times["ours"], times["plain"])
    return Figure.of("mamba_plain_step", rounds, 1.02, True, plain_seconds=quartiles(times["plain"])[1])


@contextmanager
def _plain_scan() -> Iterator[None]:
    ours = mamba_model.selective_scan
    mamba_model.selective_scan = plain_scan
    try:
        yield
    finally:
        mamba_model.selective_scan = ours


def plain_scan(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """As `prune.architectures.scan.selective_scan`."""
    factor = torch.exp(delta.unsqueeze(-2) * a[:, None, None])
    taken = (delta * x).unsqueeze(-2) * b.unsqueeze(-1)
    state, rows = torch.zeros_like(taken[:, :, 0]), []
    for t in range(x.shape[2]):
        state = factor[:, :, t] * state + taken[:, :, t]
        rows.append((c[:, :, t, None] @ state).squeeze(2))
    return torch.stack(rows, dim=2)
