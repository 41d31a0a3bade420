"""A state's line of states.jsonl while it comes about: what a method writes into it is kept, or refused by name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from prune.base.errors import UserError

OF_THE_LOOP = (
    "state", "rate", "rates", "kept", "groups", "parameters", "macs", "best_epoch", "val_accuracy_best", "val_accuracy_final",
    "test_accuracy_best", "test_accuracy_final", "test_top5_best", "test_top5_final", "epochs_since_rewind",
    "training_flops", "seconds", "sensitivity",
)  # fmt: skip
"""Keys that the loop itself writes when the state ends."""

USUAL = ("val_accuracy_pruned", "val_accuracy_before_removal", "val_accuracy_after_removal", "marked_norm_ratio")
"""Keys of the project's own methods; every line has them, null where they mean nothing."""


class Record(MutableMapping[str, Any]):
    """`state.record[key] = value`: a column of the method's own in states.jsonl, the report and W&B.

    Args:
        values: to begin with.
    """

    def __init__(self, values: Mapping[str, Any] | None = None):
        self._values: dict[str, Any] = {}
        self.update(values or {})

    def __setitem__(self, key: str, value: Any) -> None:
        """
        Raises:
            UserError: for a key that the loop writes, or a value that is no finite number, text, truth value or None.
        """
        if key in OF_THE_LOOP:
            raise UserError(f"state.record[{key!r}] is written by the loop itself; choose another name.")
        if not isinstance(value, bool | int | float | str | None):
            raise UserError(
                f"state.record[{key!r}] is a {type(value).__name__}; it may be a number, a text, true or false, or None."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"state.record[{key!r}] is {value}; a number must be finite, and None says that there is none.")
        self._values[key] = value

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def columns(self) -> dict[str, Any]:
        """The usual columns, then the method's own."""
        return {**dict.fromkeys(USUAL), **self._values}
