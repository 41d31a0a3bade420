"""How bad input is typed, and what must come of it: one sentence, and nothing trained."""

from __future__ import annotations

import re
from pathlib import Path

from hydra import compose, initialize_config_dir

from prune.sweep.entry import run_single
from prune.sweep.hydra_errors import in_one_sentence
from tests.conftest import CONF


def launch(*overrides: str) -> int:
    """What launch.py does after Hydra's command line has been split into overrides; returns the exit code."""
    try:
        with in_one_sentence(), initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            composed = compose("config", overrides=list(overrides))
        return run_single(composed)
    except SystemExit as left:
        return int(left.code or 0)


def check_sentence(stderr: str, fragment: str) -> None:
    """Exactly one complaint, a sentence, with the fragment in it."""
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert fragment in line
    assert line.endswith(".")
    assert not line.endswith("..")
    assert ". " not in re.sub(r"\.+ must|digits and \. _", "", line)
    assert "Traceback" not in stderr


def check_untrained(folder: Path) -> None:
    assert [path for path in folder.rglob("metrics.jsonl") if path.stat().st_size] == []
