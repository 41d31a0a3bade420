"""The class that docs/analyses.md shows, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from prune.pruning.slices import by_unit
from tests.analysis.subjects import MODELS, architecture_of, subject

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/analyses.md"


@pytest.mark.parametrize("family", MODELS)
def test_the_analysis_of_the_page_counts_zeros(family: str) -> None:
    """Half of the entries of each unit's first tensor are zero."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    page: dict[str, Any] = {}
    exec(code, page)

    def edit(model: nn.Module) -> None:
        for group in architecture_of(family).structure.groups:
            units = by_unit(model.get_parameter(group.members[0].tensor), group.members[0])
            units[..., : units.shape[-1] // 2] = 0
            assert torch.count_nonzero(units) == units.numel() // 2

    analysis, looked_at = page["Zeros"](), subject(family, edit=edit)
    shown = analysis.show(looked_at, analysis.measure(looked_at))
    assert shown.sentences == ["50.0 % of the making weights are zero."]
