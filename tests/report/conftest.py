"""What several tests of the report use."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from prune.report.figures import style
from prune.report.findings import Findings
from tests.report.handmade import DENSE, REFILL, analyse
from tests.report.sweep import write_flat


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not drawn, which is nearly all of the time that a report takes."""
    monkeypatch.setattr(style, "lay_out", lambda figure: None)
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"not drawn"))


@pytest.fixture
def three_seeds(tmp_path: Path) -> Findings:
    write_flat(tmp_path, "refill", REFILL)
    write_flat(tmp_path, "dense", DENSE)
    return analyse(tmp_path)
