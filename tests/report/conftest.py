"""What several tests of the report use."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from prune.report.figures import style


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not drawn, which is nearly all of the time that a report takes."""
    monkeypatch.setattr(style, "lay_out", lambda figure: None)
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"not drawn"))
