"""Modules that train as a faster class of the same results, and are the library's own at all other times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


class FastPaths:
    """What trains faster as what. Made anew for a model whose sizes have changed.

    Args:
        pairs: (module, class): the class has the module's own as its base and adds no state.
    """

    def __init__(self, pairs: Sequence[tuple[nn.Module, type]]):
        self._pairs = [(module, type(module), fast, tuple(module.modules())) for module, fast in pairs]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within this context the modules are of their fast classes.

        One with a hook, on itself or on any module below it, stays as it is; with a hook on all modules, all do: a fast class
        calls no hooks inside it and may write over what a hook has kept.
        """
        hooked_everywhere = torch.nn.modules.module._has_any_global_hook()
        chosen = [] if hooked_everywhere else [entry for entry in self._pairs if not any(map(_has_hooks, entry[3]))]
        # Past nn.Module's own __setattr__, which looks for parameters, buffers and modules first.
        for module, _, fast, _ in chosen:
            object.__setattr__(module, "__class__", fast)
        try:
            yield
        finally:
            for module, plain, _, _ in chosen:
                object.__setattr__(module, "__class__", plain)


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )  # fmt: skip
