"""Methods and controls on the families: stopped in the middle of a step and resumed, a run ends as one that was not stopped."""

from __future__ import annotations

import pytest

from prune.engine.cell import run_cell
from tests.conftest import TINY_RUN, Compose
from tests.engine.runs import equal, final, finished, stop_at

FAMILIES = {
    "swin": ("model=swin_micro", "model.embed_dim=8"),
    "mamba": ("model=mamba_hybrid_micro", "model.embed_dim=16", "model.d_state=4", "model.patch_size=4"),
}
PHASES = (
    "method.phases=[{from_state: 1, method: {name: rsst, penalty: {ceiling: 200}}}, "
    "{from_state: 2, method: {name: refill, rewind: reinit, criterion: tp_taylor}}]"
)
CELLS = [
    ("swin", ("method=phases", PHASES), (2, 0, 3)),
    ("mamba", ("method=phases", PHASES), (1, 0, 3)),
    ("swin", ("method=scratch", "method.budget=run"), (1, 2, 3)),
    ("mamba", ("method=refill", "method.rewind=reinit", "method.criterion=tp_lamp"), (2, 1, 5)),
]
"""Pairs of families and choices, each choice once at least; state, epoch and step of the stop."""


@pytest.mark.parametrize(("family", "chosen", "at"), CELLS)
def test_a_stop_changes_nothing(
    compose: Compose, monkeypatch: pytest.MonkeyPatch, family: str, chosen: tuple[str, ...], at: tuple[int, int, int]
) -> None:
    others = [key for key in TINY_RUN if not key.startswith("model.")]
    whole, stopped = (compose(*others, *FAMILIES[family], *chosen, f"name={name}") for name in ("whole", "stopped"))
    with monkeypatch.context() as patch:
        stop_at(patch, *at)
        assert run_cell(stopped).status == "preempted"
    one, other = finished(run_cell(whole)), finished(run_cell(stopped))
    assert all(equal(final(one, state), final(other, state)) for state in range(3))
