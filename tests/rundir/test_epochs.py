"""Where a run stands after so many epochs, by what its configuration's file says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prune.rundir.epochs import epochs_of_states, position
from tests.conftest import Compose


def config(method: dict[str, Any] | None = None, **schedule: Any) -> dict[str, Any]:
    return {"method": method or {"name": "dense"}, "schedule": {"states": 3, "epochs": 2, "target": 0.5, **schedule}}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_positions_are_those_of_a_walk_through_the_run(epochs: list[int]) -> None:
    walked = [(state, epoch) for state, count in enumerate(epochs) for epoch in range(count)]
    for done, place in enumerate(walked):
        assert position(epochs, done) == place
    assert position(epochs, len(walked)) == position(epochs, len(walked) + 5) == (len(epochs), 0)


def test_a_file_tells_what_the_run_does(compose: Compose) -> None:
    run = compose("method=phases", "schedule.states=10", "schedule.epochs_first=3", "schedule.epochs=2")
    assert epochs_of_states(run.model_dump(mode="json")) == (3, *[2] * 9) == tuple(map(run.epochs_of, range(10)))
    assert run.epochs_before(10) == 21 and run.epochs_before(1) == 3 and run.epochs_before(0) == 0


def test_a_method_that_is_not_known_here_has_the_schedules_epochs() -> None:
    assert epochs_of_states(config({"name": "nobody's"}, epochs_first=0)) == (0, 2, 2)
    assert epochs_of_states(config({"name": "dense", "later": 1})) == (2, 2, 2)
    assert epochs_of_states({"method": {}, "schedule": {"states": 2, "epochs": 4}}) == (4, 4)  # as a file cut short has it
