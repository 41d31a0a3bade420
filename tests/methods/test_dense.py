"""Dense: the same states and epochs, and never a unit less."""

from __future__ import annotations

from prune.base.files import read_jsonl
from tests.conftest import Compose
from tests.engine.runs import RunTiny, final, finished


def test_dense_never_prunes(run_tiny: RunTiny, compose_tiny: Compose) -> None:
    directory = finished(run_tiny("method=dense"))
    budgets = compose_tiny("method=dense").budgets()
    assert [(budget.rate, budget.kept) for budget in budgets] == [(0, {"heads": 8, "neurons": 64})] * 3
    parameters = sum(tensor.numel() for tensor in final(directory, 0).values())
    assert {line["parameters"] for line in read_jsonl(directory.metrics)} == {parameters}
    assert {line["parameters"] for line in read_jsonl(directory.states)} == {parameters}
