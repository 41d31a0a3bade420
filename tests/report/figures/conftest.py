"""What tests of the figures use."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import matplotlib.figure
import pytest

from prune.report.figures import accuracy, models, pareto, sensitivity, survival, swept, training
from prune.report.figures.style import RC


class Canvas(NamedTuple):
    """A figure before it becomes a picture."""

    figure: matplotlib.figure.Figure
    name: str
    title: str
    caption: str


MODULES: tuple[ModuleType, ...] = (accuracy, models, pareto, sensitivity, survival, swept, training)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that make figures return a `Canvas`."""
    for module in MODULES:
        monkeypatch.setattr(module, "render", Canvas)
    for key, value in RC.items():
        monkeypatch.setitem(matplotlib.rcParams, key, value)
