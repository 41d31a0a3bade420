"""What a start ran on is stored, and a change within a run is flagged."""

from __future__ import annotations

import pytest
import torch

from prune.base.files import read_json
from prune.engine import environment
from prune.engine.device import set_precision
from prune.engine.state import PruningState
from prune.pruning.ranking import Scores
from tests.engine.runs import RunTiny, finished, interrupted


def test_threads_of_the_first_start_are_kept_and_a_change_is_flagged(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    again = finished(run_tiny("method=rsst", "hardware.threads=2"))
    assert again == directory  # hardware does not count for the identity
    status = read_json(directory.status)
    assert [start["threads"] for start in status["starts"]] == [1, 2]
    assert "from 1 to 2" in status["flags"][0]


def test_every_start_says_what_it_ran_on(run_tiny: RunTiny) -> None:
    status = read_json(finished(run_tiny("method=dense")).status)
    (start,) = status["starts"]
    assert set(start) >= {"time", "commit", "torch", "device", "precision", "threads"}


@pytest.mark.parametrize(
    ("change", "flag"),
    [("compile", "hardware.compile changed from False to True"), ("device", "device changed from cpu (x) to cpu (y)")],
)
def test_another_device_or_compiler_is_flagged(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch, change: str, flag: str
) -> None:
    monkeypatch.setattr(environment, "device_name", lambda _: "cpu (x)")
    directory = interrupted(run_tiny, monkeypatch)
    monkeypatch.setattr(environment, "device_name", lambda _: "cpu (y)" if change == "device" else "cpu (x)")
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    finished(run_tiny("method=rsst", f"hardware.compile={str(change == 'compile').lower()}"))
    assert (read_json(directory.status) or {})["flags"] == [f"{flag}: results may differ in the last digits"]


def test_float32_means_full_precision_for_convolutions_as_well() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    try:
        for precision, allowed in (("float32", False), ("tf32", True), ("bf16", False)):
            set_precision(precision)
            assert torch.backends.cudnn.allow_tf32 == allowed
            assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


@pytest.mark.parametrize("criterion", ["taylor", "activation"])
def test_criteria_see_the_model_in_the_runs_precision(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch, criterion: str
) -> None:
    seen: set[torch.dtype] = set()
    real = PruningState.score

    def score(state: PruningState) -> Scores:
        with state.model.blocks[0].mlp.fc1.register_forward_hook(lambda _, __, output: seen.add(output.dtype)):  # type: ignore
            return real(state)

    monkeypatch.setattr(PruningState, "score", score)
    for precision, expected in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        seen.clear()
        finished(run_tiny("method=refill", f"method.criterion={criterion}", f"optim.precision={precision}"))
        assert seen == {expected}
