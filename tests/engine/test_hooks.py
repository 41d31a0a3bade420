"""What a method of somebody else's can do, and what it is told when it does something wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field

from prune.base.errors import UserError
from prune.base.files import read_jsonl
from prune.base.registries import METHODS
from prune.engine.cell import run_cell
from prune.engine.memory import unpack
from prune.engine.method import Method
from prune.engine.record import Record
from prune.methods.refill import Refill
from prune.pruning.options import MethodOptions, ScoredOptions
from prune.pruning.slices import by_unit
from prune.rundir.checkpoint import read_run_memory
from tests.conftest import Compose
from tests.engine.runs import RunTiny, equal, final, finished, stop_at


class Counting(Method):
    """Counts its calls by state, in memories of both lives; moves nothing."""

    Options = MethodOptions
    calls: ClassVar[Counter[tuple[str, int]]] = Counter()

    def begin(self, state: Any) -> None:
        self.calls["begin", state.index] += 1

    def prune(self, state: Any) -> None:
        self.calls["prune", state.index] += 1

    def before_step(self, state: Any, step: int) -> None:
        self.calls["before_step", state.index] += 1

    def after_step(self, state: Any, step: int) -> None:
        self.calls["after_step", state.index] += 1
        state.memory["steps"] = state.memory.get("steps", torch.zeros(())) + 1
        state.run_memory["steps"] = state.run_memory.get("steps", torch.zeros(())) + 1

    def end_epoch(self, state: Any, epoch: int) -> None:
        self.calls["end_epoch", state.index] += 1

    def end_state(self, state: Any) -> None:
        self.calls["end_state", state.index] += 1
        state.record["steps_of_state"] = int(state.memory["steps"])
        state.record["steps_of_run"] = int(state.run_memory["steps"])


class Moving(Method):
    """Movement pruning in ten lines."""

    Options = MethodOptions
    changes_state_0 = True

    def before_step(self, state: Any, step: int) -> None:
        moved = state.run_memory.setdefault("moved", {name: torch.zeros(len(u)) for name, u in state.alive.items()})
        for group in state.structure.groups:
            for member in group.members:
                weight = state.model.get_parameter(member.tensor)
                moved[group.name] -= by_unit(weight.detach() * weight.grad, member).flatten(1).sum(1)

    def prune(self, state: Any) -> None:
        moved = state.run_memory["moved"]
        state.record["moved"] = float(sum(scores.abs().sum() for scores in moved.values()))
        keep = state.choose(moved)
        state.run_memory["moved"] = {n: s[torch.isin(state.alive[n], keep[n])] for n, s in moved.items()}
        state.remove(keep)


class BetweenSteps(Method):
    """Removes in the middle of an epoch."""

    Options = ScoredOptions

    def prune(self, state: Any) -> None:
        state.mark(state.choose(state.score()))

    def after_step(self, state: Any, step: int) -> None:
        if step == 2 and state.marked is not None:
            state.remove(state.marked)
            state.run_memory["removed"] = {name: tensor.clone() for name, tensor in state.tensors().items()}


class ShrinkingHead(Method):
    """Adds ½·c·Σw² of the classifier to the loss."""

    Options = MethodOptions

    def loss_term(self, state: Any, images: Any, logits: Any, labels: Any) -> Any:
        return 0.5 * 0.3 * state.model.head.weight.square().sum()


class TwoPointOptions(ScoredOptions):
    second: str = Field("epoch:1", description="the other point")

    @property
    def rewind_points(self) -> tuple[str, ...]:
        return ("init", self.second)


class TwoPoints(Refill):
    """Rewinds to init in state 1 and to an epoch of state 0 after it."""

    Options = TwoPointOptions

    def prune(self, state: Any) -> None:
        state.remove(state.choose(state.score()))
        state.rewind(to="init" if state.index == 1 else self.options.second)
        state.run_memory[f"began {state.index}"] = {name: t.clone() for name, t in state.tensors().items()}


def offer(monkeypatch: pytest.MonkeyPatch, method: type[Method]) -> None:
    """Make a method of this file known as `mine`."""
    monkeypatch.setitem(METHODS.table, "mine", f"{__name__}:{method.__name__}")


def test_hooks_run_in_every_state_and_memories_live_as_long_as_they_should(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, Counting)
    Counting.calls.clear()
    lines = read_jsonl(finished(run_cell(compose_tiny("method=dense", "method.name=mine"))).states)
    steps = 2 * (1203 // 128)  # of two epochs
    for state in range(3):
        assert Counting.calls["begin", state] == Counting.calls["end_state", state] == 1
        assert Counting.calls["prune", state] == (state > 0)
        assert Counting.calls["before_step", state] == Counting.calls["after_step", state] == steps
        assert Counting.calls["end_epoch", state] == 2
    assert [line["steps_of_state"] for line in lines] == [steps, steps, steps]
    assert [line["steps_of_run"] for line in lines] == [steps, 2 * steps, 3 * steps]


def test_what_is_left_trains_on_when_units_go_between_two_steps(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, BetweenSteps)
    run = finished(run_cell(compose_tiny("method=refill", "method.name=mine", "~method.fillback_rate", "schedule.states=2")))
    removed = unpack(read_run_memory(run, 1), torch.device("cpu"))["removed"]
    trained = final(run, 1)
    assert removed.keys() == trained.keys()
    assert all(not torch.equal(removed[name], trained[name]) for name in trained if name.endswith("weight"))
    dense, compact = (line["macs"] for line in read_jsonl(run.states))
    steps = 2 * (1203 // 128)
    assert read_jsonl(run.states)[1]["training_flops"] == 6 * 128 * ((steps + 3) * dense + (steps - 3) * compact)


@pytest.mark.parametrize("left", ["everything", "complete states"])
def test_memories_survive_a_restart(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    offer(monkeypatch, Counting)
    config = compose_tiny("method=dense", "method.name=mine")
    with monkeypatch.context() as patch:
        stop_at(patch, 2, 1, 3)
        stopped = run_cell(config)
    assert stopped.status == "preempted"
    if left == "complete states":
        stopped.directory.last.unlink()
        stopped.directory.previous.unlink(missing_ok=True)
    lines = read_jsonl(finished(run_cell(config)).states)
    steps = 2 * (1203 // 128)
    assert [line["steps_of_run"] for line in lines] == [steps, 2 * steps, 3 * steps]


def test_what_moved_in_state_0_ranks(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, Moving)
    lines = read_jsonl(finished(run_cell(compose_tiny("method=dense", "method.name=mine"))).states)
    assert lines[1]["moved"] > 0
    assert lines[2]["kept"] == {"heads": 2, "neurons": 19}


def test_a_term_of_the_loss_is_trained(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    """With plain SGD one step with ½·c·Σw² moves the classifier by lr·c·w more than one without."""
    offer(monkeypatch, ShrinkingHead)
    one_step = ("optim=sgd", "optim.lr=0.1", "optim.momentum=0", "optim.weight_decay=0", "optim.warmup_epochs=0",
                "optim.lr_schedule=constant", "optim.batch_size=1203", "schedule.epochs_first=1", "schedule.states=2",
                "schedule.epochs=1")  # fmt: skip
    start = final(finished(run_cell(compose_tiny("method=dense", *one_step, "schedule.epochs_first=0"))), 0)["head.weight"]
    plain = final(finished(run_cell(compose_tiny("method=dense", *one_step))), 0)["head.weight"]
    shrunk = final(finished(run_cell(compose_tiny("method=dense", "method.name=mine", *one_step))), 0)["head.weight"]
    torch.testing.assert_close(plain - shrunk, 0.1 * 0.3 * start, rtol=1e-4, atol=1e-7)


def test_a_method_may_use_several_rewind_points(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, TwoPoints)
    directory = finished(run_cell(compose_tiny("method=dense", "method.name=mine")))
    assert directory.rewind("init").is_file() and directory.rewind("epoch-001").is_file()
    lines = read_jsonl(directory.states)
    assert [line["epochs_since_rewind"] for line in lines] == [2, 2, 2]
    began = torch.load(directory.run_memory(2), weights_only=True)
    assert began is not None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: {**s, "blocks.0.attn": s["blocks.0.attn"] * float("nan")}, "gave 4 scores for blocks.0.attn that are not finite"),  # noqa: E501
        (lambda s: {**s, "blocks.1.mlp": s["blocks.1.mlp"][:-1]}, "gave scores of shape [31] for blocks.1.mlp, which has 32 units"),  # noqa: E501
        (lambda s: {name: v for name, v in s.items() if name != "blocks.1.mlp"}, "gave no scores for blocks.1.mlp"),
        (lambda s: {**s, "blocks.7.mlp": s["blocks.1.mlp"]}, "gave scores for blocks.7.mlp, which is no group of the model"),
    ],
)  # fmt: skip
def test_wrong_scores_end_the_run_with_a_sentence(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch, change: Any, sentence: str
) -> None:
    from prune.pruning.criteria.magnitude import Magnitude

    scores = Magnitude.scores
    monkeypatch.setattr(Magnitude, "scores", lambda self, scoring: change(scores(self, scoring)))
    outcome = run_tiny("method=refill")
    assert outcome.status == "failed"
    assert outcome.error == f"method.criterion=magnitude {sentence}."


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("rate", 0.5, "state.record['rate'] is written by the loop itself; choose another name."),
        ("mine", torch.zeros(2), "state.record['mine'] is a Tensor; it may be a number, a text, true or false, or None."),
        ("mine", float("nan"), "state.record['mine'] is nan; a number must be finite, and None says that there is none."),
    ],
)
def test_what_a_record_cannot_hold_is_refused_by_name(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch, key: str, value: Any, sentence: str
) -> None:
    monkeypatch.setattr(Refill, "end_state", lambda self, state: state.record.__setitem__(key, value))
    outcome = run_tiny("method=refill")
    assert (outcome.status, outcome.error) == ("failed", sentence)


@pytest.mark.parametrize(
    "write",
    [
        lambda record: record.update({"rate": 0.5}),
        lambda record: record.setdefault("rate", 0.5),
        lambda record: record.update(rate=0.5),
    ],
)
def test_a_record_refuses_however_it_is_written(write: Callable[[Record], Any]) -> None:
    with pytest.raises(UserError, match=r"state\.record\['rate'\] is written by the loop itself"):
        write(Record())
    record = Record({"mine": 1})
    record.update(other=2)
    assert dict(record) == {"mine": 1, "other": 2}


def test_a_point_that_no_run_keeps_is_named(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Refill, "prune", lambda self, state: state.rewind(to="epoch:1"))
    outcome = run_tiny("method=refill")
    assert outcome.error == "state.rewind(to='epoch:1'): the options' rewind_points are none, and no other point is kept."


def test_the_log_counts_what_a_joint_ranking_keeps(run_tiny: RunTiny, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="prune")
    directory = finished(run_tiny("method=refill", "method.pools=joint"))
    said = [record.getMessage() for record in caplog.records if ": rate " in record.getMessage()]
    lines = read_jsonl(directory.states)
    kept = [f"keeps {line['kept']['heads']} of 8 heads and {line['kept']['neurons']} of 64 neurons" for line in lines]
    assert all(words in line for words, line in zip(kept, [line for line in said if "keeps" in line], strict=True))


def test_kinds_have_the_rates_that_the_schedule_gives_them(run_tiny: RunTiny) -> None:
    apart = finished(run_tiny("method=refill", "schedule.targets={heads: 0.5}", "name=apart"))
    assert read_jsonl(apart.states)[-1]["rates"] == {"heads": 0.5, "neurons": 0.7}
    one = finished(run_tiny("method=refill", "method.targets=[heads]", "name=one"))
    assert read_jsonl(one.states)[-1]["rates"] == {"heads": 0.7, "neurons": 0.0}


def test_what_a_memory_cannot_hold_is_refused_by_name(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Refill, "begin", lambda self, state: state.memory.update(mine={"set": {1, 2}}))
    outcome = run_tiny("method=refill")
    assert outcome.status == "failed"
    assert outcome.error is not None and outcome.error.startswith("state.memory['mine']['set'] is a set; it may hold numbers")


def test_a_method_that_scores_by_itself_has_no_criterion(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    from prune.base.errors import UserError

    offer(monkeypatch, Moving)
    with pytest.raises(UserError, match=r"method\.criterion is not a key of this configuration"):
        compose_tiny("method=refill", "method.name=mine")


def test_dense_may_rewind(run_tiny: RunTiny) -> None:
    """A dense run that rewinds trains each state from the initial weights, and says so in its epochs."""
    directory = finished(run_tiny("method=dense", "method.rewind=init"))
    lines = read_jsonl(directory.states)
    assert [line["epochs_since_rewind"] for line in lines] == [2, 2, 2]
    assert not equal(final(directory, 0), final(directory, 1))  # other batches
