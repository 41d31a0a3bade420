"""Deterministic kernels: preferred in all a run computes, demanded where gradients are computed; what has none is told."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")

NO_KERNEL = re.compile(
    r"(.+?) (?:does not have a deterministic implementation|defaults to a non-deterministic algorithm)"
    r"|Deterministic behavior was enabled .*CuBLAS"
)
"""What torch says of an operation that has no deterministic kernel, or does not take the one it has."""


def set_deterministic(wanted: bool) -> None:
    """Prefer deterministic kernels from now on: an operation that has none warns. Fresh memory is not filled for it."""
    torch.use_deterministic_algorithms(wanted, warn_only=wanted)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


class Strictly:
    """Computes by deterministic kernels alone, as long as every operation has one.

    torch's fused attention has a deterministic backward pass, but takes it only where operations without one are refused; where
    they merely warn, it does not. So gradients are computed that way until an operation turns out to have none.

    Args:
        wanted: False: computes as usual.
    """

    def __init__(self, wanted: bool):
        self.strict = wanted

    def compute(self, call: Callable[[], Result], undo: Callable[[], object] = lambda: None) -> Result:
        """What the call gives. If an operation has no deterministic kernel, then `undo()`, and the call once more with what
        there is, now and from now on; torch then warns, which `telling` notices."""
        if not self.strict:
            return call()
        torch.use_deterministic_algorithms(True)
        try:
            return call()
        except RuntimeError as error:
            if NO_KERNEL.search(str(error)) is None:
                raise
        finally:
            torch.use_deterministic_algorithms(True, warn_only=True)
        self.strict = False
        undo()
        return call()


@contextmanager
def telling(report: Callable[[str], None]) -> Iterator[None]:
    """Within this context `report` gets a sentence the first time that an operation has no deterministic kernel."""
    told: set[str] = set()
    with warnings.catch_warnings():
        # Always: Python and torch give some warnings once a process, and this may be the process's second run.
        warnings.filterwarnings("always", message=NO_KERNEL.pattern)
        before = torch.is_warn_always_enabled()
        torch.set_warn_always(True)
        show = warnings.showwarning

        def notice(message: Warning | str, *about: Any, **more: Any) -> None:
            found = NO_KERNEL.match(str(message))
            if found is None:
                show(message, *about, **more)
                return
            operation = found[1] or "cuBLAS, with this CUBLAS_WORKSPACE_CONFIG,"
            if operation not in told:
                told.add(operation)
                report(
                    f"hardware.deterministic=true, but {operation} has no deterministic kernel here: from run to run, and "
                    "after a resume, results may differ in the last digits"
                )

        warnings.showwarning = notice
        try:
            yield
        finally:
            torch.set_warn_always(before)
