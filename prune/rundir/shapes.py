"""What must be in a run's small files, and of which type. A file of another shape is damaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Check = Callable[[Any], bool]
"""Whether a value is what its key means."""


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def number(value: Any) -> bool:
    """Finite, and one that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def text(value: Any) -> bool:
    return isinstance(value, str)


def moment(value: Any) -> bool:
    """A moment as `status.now` writes it: with its time zone."""
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def counts(value: Any) -> bool:
    """Units by kind or by group."""
    return isinstance(value, dict) and all(whole(units) for units in value.values())


def rates(value: Any) -> bool:
    """Rates by kind."""
    return isinstance(value, dict) and all(number(rate) and 0 <= rate < 1 for rate in value.values())


def curves(value: Any) -> bool:
    """By group, so many units silenced → the loss."""

    def fits(curve: Any) -> bool:
        if not isinstance(curve, dict):
            return False
        units, loss = curve.get("units"), curve.get("loss")
        if not isinstance(units, list) or not isinstance(loss, list) or len(units) != len(loss):
            return False
        return all(map(whole, units)) and all(map(number, loss))

    return isinstance(value, dict) and all(map(fits, value.values()))


def objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def maybe(check: Check) -> Check:
    """The same, or null."""
    return lambda value: value is None or check(value)


CONFIG: dict[str, Check] = {
    "dataset.name": text,
    "method.name": text,
    "seed": whole,
    "schedule.states": lambda value: whole(value) and 0 < value < 1_000_000,
    "schedule.epochs": whole,
    "schedule.epochs_first?": maybe(whole),
    "schedule.epochs_last?": maybe(whole),
}
"""config.yaml, as far as every reader needs it."""

METRICS: dict[str, Check] = {"state": whole, "epoch": whole, "val_accuracy": number, "seconds": number}
"""A line of metrics.jsonl."""

STATES: dict[str, Check] = {
    "state": whole,
    "parameters": whole,
    "macs": whole,
    "val_accuracy_best": number,
    "test_accuracy_best": number,
    "seconds": number,
    "kept?": counts,
    "groups?": counts,
    "rates?": rates,
    "sensitivity?": curves,
}
"""A line of states.jsonl."""

STATUS: dict[str, Check] = {
    "status": lambda value: value in ("queued", "running", "done", "failed", "preempted"),
    "heartbeat?": moment,
    "error?": maybe(text),
    "host?": maybe(text),
    "node?": maybe(text),
    "job_id?": maybe(text),
    "starts?": objects,
}
"""status.json."""


SUBMISSION: dict[str, Check] = {
    "executor": text,
    "job_id": text,
    "output": text,
    "errors": text,
    "result": text,
    "submitted": text,
    "verdict": maybe(text),
}
"""submission.json."""

RESULT: dict[str, Check] = {"run": text, "status": text, "error": maybe(text)}
"""What a job leaves beside what it printed."""


def misfit(value: Any, shape: Mapping[str, Check]) -> str | None:
    """What of a value is not as a shape says (`schedule.states is missing`); None if all of it is.

    Args:
        shape: key → what its value must be; `a.b` is key b of the object at a, and a key that ends in `?` may be missing.
    """
    if not isinstance(value, dict):
        return "it is no JSON object"
    for key, check in shape.items():
        path, found = key.removesuffix("?").split("."), value
        for part in path:
            if not isinstance(found, dict):
                return f"{key} cannot be in it"
            if part not in found:
                break
            found = found[part]
        else:
            if not check(found):
                return f"{'.'.join(path)} is not what it should be"
            continue
        if not key.endswith("?"):
            return f"{key} is missing"
    return None
