"""Figures of Vision Mambas: a step at 70 % beside a dense one, and a dense step beside one whose scan autograd takes apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import compact_state, dense_state, make_job, one_step
from prune.architectures import mamba_model

BATCH = 16
MICRO = ("model=mamba_micro", "model.patch_size=8")


def _job(scale: Scale, folder: Path, full: bool) -> tuple[Scale, tuple[str, ...]]:
    model = ("model=mamba_tiny",) if full else MICRO
    return replace(scale, model=model, batch_size=BATCH if full else scale.batch_size), ("method=refill", "method.rewind=none")


def mamba_compact_step(scale: Scale, folder: Path) -> Figure:
    """Training step at 70 % / dense training step; Vim-Tiny, 65 tokens, batch 16."""
    scale, keys = _job(scale, folder, scale.many > 2)
    job = make_job(folder, scale, *keys, "schedule.states=2", "schedule.target=0.7")
    small = compact_state(job, 1)
    times = take_turns({"dense": one_step(job, dense_state(job)), "compact": one_step(job, small)}, scale.rounds)
    macs = small.sizes()["macs"] / job.architecture.structure.macs()
    rounds = ratios(times["compact"], times["dense"])
    return Figure.of("mamba_compact_step", rounds, 0.5, True, macs_left=macs, dense_seconds=quartiles(times["dense"])[1])


def mamba_plain_step(scale: Scale, folder: Path) -> Figure:
    """Dense training step / the same step with the scan as its formula reads, one time step after the other under autograd."""
    scale, keys = _job(scale, folder, scale.many > 2)
    job = make_job(folder, scale, *keys, "schedule.states=2")
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
