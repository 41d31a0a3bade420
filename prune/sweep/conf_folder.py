"""Where the configuration groups are: beside the package in a checkout, inside it once installed."""

from __future__ import annotations

from pathlib import Path

import prune


def conf_folder() -> Path:
    """The folder that holds config.yaml and the config groups."""
    package = Path(prune.__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
