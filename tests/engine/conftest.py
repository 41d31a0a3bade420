"""A run that was never disturbed, for tests that disturb others."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune.engine.cell import run_cell
from tests.conftest import TINY_RUN, compose_config
from tests.engine.runs import finished


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An RSST run that was never disturbed."""
    return finished(run_cell(compose_config(tmp_path_factory.mktemp("whole"), *TINY_RUN, "method=rsst"))).path
