"""What happens before Hydra makes its first directory: checks, and a place that only its owner can read."""

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

        def check() -> None:
            check_outputs(read_config(config).outputs, config.name)
            make_private(Path(config.hydra.run.dir))

        self._check(check)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """A sweep: the launcher checks its cells; here only the folder, which Hydra is about to write to."""
        from prune.config.parse import check_place

        def check() -> None:
            check_place(config.outputs, config.name)
            check_outputs(config.outputs, config.name)
            make_private(Path(config.hydra.sweep.dir))

        self._check(check)

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


def make_private(folder: Path) -> None:
    """Make the folder in which Hydra and jobs leave what was typed, set-up lines included: nobody else may look into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}).") from None
