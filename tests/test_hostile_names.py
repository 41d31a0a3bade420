"""Names that terminals, rich, Markdown, HTML and spreadsheets would act upon are shown as they are, by every command."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from prune.base.text import literal
from prune.cli import main
from prune.engine.cell import run_cell
from prune.report.write import _literal
from prune.sweep.plan import make_plan, print_plan
from prune.sweep.summary import print_summary
from tests.conftest import TINY_RUN, compose_config

NAME = "=@\x1b[31m[red]*x*"
"""A colour for terminals, and one for rich; bold for Markdown; the beginning of a formula."""

SHOWN = r"=@\x1b[31m[red]*x*"


@pytest.fixture
def places(image_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A finished sweep in a folder of that name, with images from one."""
    root = image_folder.rename(tmp_path / NAME)
    outputs = tmp_path / "outputs"
    data = ("dataset=image_folder", f"dataset.root='{root}'", "dataset.image_size=8", "optim.batch_size=8")
    config = compose_config(outputs, *TINY_RUN, *data, "model.patch_size=4", "schedule.states=2")
    print_plan(make_plan([config]))
    outcome = run_cell(config)
    assert outcome.status == "done", outcome.error
    print_summary([outcome.directory])
    return root, Path(shutil.copytree(outputs / "demo", tmp_path / f"{NAME}sweep"))


def test_names_are_shown_literally(places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, sweep = places
    printed = capsys.readouterr()
    assert main(["status", str(sweep)]) == 0
    assert main(["report", str(sweep)]) == 0
    shown = capsys.readouterr()
    for text in (printed.out, printed.err, shown.out, shown.err):
        assert "\x1b" not in text
    assert "".join(shown.out.split()).count(SHOWN) >= 3  # the title of the status, the report's table and its place
    pages = [sweep / "report/report.md", sweep / "report/report.html", *(sweep / "report/tables").glob("*.csv")]
    for page in pages:
        assert "\x1b" not in page.read_text(), page
    assert r"# Pruning report: =@\\x1b\[31m\[red]\*x\*sweep" in pages[0].read_text().splitlines()
    for table in pages[2:]:
        assert not re.search(r"(^|,)\"?[=@+-][^\d.]", table.read_text(), re.MULTILINE), table


def test_a_cell_that_begins_as_a_formula_is_text() -> None:
    assert [_literal(text) for text in ("=1+1", "+1", "-x", "@a", "a=b", "x\x1by")] == [
        "'=1+1",
        "'+1",
        "'-x",
        "'@a",
        "a=b",
        r"x\x1by",
    ]
    frame = pd.DataFrame({"text": ["=1"], "number": [-1.5]}).map(_literal)
    assert frame.to_csv(index=False) == "text,number\n'=1,-1.5\n"
    assert literal("[red]") == r"\[red]"
