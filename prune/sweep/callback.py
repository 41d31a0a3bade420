"""Checks that run before Hydra makes its first directory."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from prune.base.errors import UserError


class CheckFirst(Callback):
    """Bad input is one sentence and exit code 1. (Hydra swallows a callback's exceptions, but not SystemExit.)"""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """One run: its whole configuration is checked."""
        from prune.sweep.entry import read_config

        self._check(lambda: check_outputs(read_config(config).outputs, config.name))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """A sweep: the launcher checks its cells; here only the folder, which Hydra is about to write to."""
        self._check(lambda: check_outputs(config.outputs, config.name))

    def _check(self, check: Any) -> None:
        try:
            check()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)


def check_outputs(outputs: str, name: str) -> None:
    """Raise `UserError` unless `<outputs>/<name>` can be made and written to. Creates nothing."""
    folder = Path(outputs).expanduser().absolute() / str(name)
    present = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        tempfile.TemporaryFile(dir=present).close()  # what counts is whether it works: access rights tell less than that
    except OSError as error:
        raise UserError(f"outputs: {folder} cannot be written ({present}: {error.strerror}).") from None
