"""How many epochs each state of a run has, from its configuration as a file holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from prune.base.errors import UserError
from prune.base.registries import METHODS
from prune.pruning.schedule import ScheduleOptions, epochs_of


def epochs_of_states(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Epochs of each state: what the method says, or the schedule alone where the method is not known here."""
    sections, states = config["schedule"], range(int(config["schedule"]["states"]))
    try:
        schedule = ScheduleOptions.model_validate(sections)
        method = METHODS.load(str(config["method"]["name"])).Options.model_validate(config["method"])
        return tuple(method.epochs(schedule, state) for state in states)
    except (UserError, ValidationError, ImportError, KeyError, TypeError):
        return tuple(epochs_of(sections, state) for state in states)


def position(epochs: Sequence[int], done: int) -> tuple[int, int]:
    """(state, epoch) that comes after so many epochs of a run; (number of states, 0) after all of them."""
    for state, count in enumerate(epochs):
        if done < count:
            return state, done
        done -= count
    return len(epochs), 0
