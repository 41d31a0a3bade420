"""A finished run to analyse, copied for each test that changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prune.engine.cell import run_cell
from tests.conftest import TINY_RUN, compose_config


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Refill run of three states, in a sweep's folder of its own."""
    outcome = run_cell(compose_config(tmp_path_factory.mktemp("finished"), *TINY_RUN, "method=refill", "name=sweep"))
    assert outcome.status == "done", outcome.error
    return outcome.directory.path


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of it, alone in `tmp_path/sweep`."""
    return Path(shutil.copytree(finished_run, tmp_path / "sweep" / finished_run.name))
