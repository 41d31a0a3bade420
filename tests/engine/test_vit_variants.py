"""Whole runs of the ViT family's variations, each with another method and criterion: stopped and resumed, they end the same."""

from __future__ import annotations

import pytest

from prune.base.files import read_jsonl
from tests.engine.durability import differences
from tests.engine.runs import RunTiny, stop_at

RUNS = {
    "distilled": ("method=rsst", "model.distilled=true", "model.global_pool=token", "method.criterion=taylor"),
    "layer scale": ("method=refill", "model.init_values=0.1", "model.no_embed_class=true", "method.criterion=group_magnitude"),
    "registers": ("method=refill", "model.reg_tokens=2", "method.criterion=remaining", "method.pools=joint"),
    "normalised queries": ("method=rsst", "model.qk_norm=true", "model.qkv_bias=false", "method.criterion=activation"),
    "swiglu": ("method=rsst", "model.mlp_layer=swiglu", "method.criterion=remaining_count", "method.scope=layer"),
    "swiglu_packed": ("method=refill", "model.mlp_layer=swiglu_packed", "model.pre_norm=true", "method.min_per_block=0"),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_stopped_run_ends_as_one_that_was_not(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch, run: str) -> None:
    whole = run_tiny(*RUNS[run], "name=whole")
    assert whole.status == "done"
    neurons = 16 if run == "swiglu_packed" else 32
    dense, _, last = read_jsonl(whole.directory.path / "states.jsonl")
    assert dense["kept"] == {"heads": 8, "neurons": 2 * neurons}
    assert last["kept"] == {"heads": 2, "neurons": round(0.3 * 2 * neurons)} or "method.pools=joint" in RUNS[run]
    stop_at(monkeypatch, 1, 1, 3)
    assert run_tiny(*RUNS[run], "name=stopped").status == "preempted"
    monkeypatch.undo()
    resumed = run_tiny(*RUNS[run], "name=stopped")
    assert resumed.status == "done"
    assert differences(whole.directory.path, resumed.directory.path) == []
