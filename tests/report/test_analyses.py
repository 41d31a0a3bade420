"""What the report shows of analyses: what is there and of the present models, and the command for what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prune.base.files import read_json_object, write_json
from prune.base.registries import ANALYSES
from prune.report.analyses import MOST_SHOWN, items
from prune.report.figures.style import Figure
from prune.report.study import Study
from prune.rundir.analyses import write_stored
from prune.rundir.directory import RunDirectory
from tests.report.handmade import REFILL, analyse
from tests.report.sweep import write_flat


def store(run: Path, name: str, state: int = 2, **more: Any) -> RunDirectory:
    """An analysis of a state whose best model has the digest `abc`."""
    directory = RunDirectory(run)
    directory.state(state).mkdir(parents=True, exist_ok=True)
    write_json(directory.manifest(state), {"sha256": {"best": "abc"}})
    about = {
        "analysis": name, "title": name.capitalize(), "state": state, "images": 7,
        "sources": {"models": {f"{state}/best": "abc"}},
        "sentences": [f"All of {name} is well."], "refused": None, "numbers": {"accuracy": 1.5}, **more,
    }  # fmt: skip
    drawn = [] if about["refused"] else [Figure(f"{name}-one", "One", "How to read it.", b"png", b"svg")]
    write_stored(directory, about, drawn, b"arrays")
    return directory


def shown(sweep: Path) -> tuple[list[str], list[Figure]]:
    """Sentences and figures."""
    study: Study = analyse(sweep).study
    found = items(study, "digits")
    return [item for item in found if isinstance(item, str)], [item for item in found if isinstance(item, Figure)]


def test_without_any_it_names_the_command(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", REFILL)
    assert shown(tmp_path) == ([f"Not analysed: refill. `python -m prune analyse {tmp_path}` measures what is missing."], [])


def test_what_is_there_is_shown_with_its_run_state_and_images(tmp_path: Path) -> None:
    run = write_flat(tmp_path, "refill", REFILL)[1]
    store(run, "errors")
    store(run, "attention", refused="A Mamba has none.")
    sentences, (figure,) = shown(tmp_path)
    assert sentences[0] == "Errors: refill (R2, state 2), 7 validation images. All of errors is well."
    assert sentences[1].endswith("A Mamba has none.")
    assert figure.caption == "How to read it." and figure.png == b"png" and figure.title == "One: refill (R2, state 2)"
    missing = [name for name in ANALYSES.table if name not in ("errors", "attention")]
    assert sentences[2].startswith(f"Not analysed: refill ({', '.join(missing)}). `python -m prune analyse ")


def test_the_last_analysed_state_is_the_one_that_is_shown(tmp_path: Path) -> None:
    """`errors` has the dense model beside it there."""
    run = write_flat(tmp_path, "refill", REFILL)[0]
    store(run, "errors", state=0)
    store(run, "errors", state=1, sources={"models": {"1/best": "abc", "0/best": "abc"}})
    sentences, figures = shown(tmp_path)
    assert sentences[0].startswith("Errors: refill (R1, state 1)") and len(figures) == 1


def test_of_what_looks_at_one_model_the_dense_one_is_shown_as_well(tmp_path: Path) -> None:
    run = write_flat(tmp_path, "refill", REFILL)[0]
    for state in (0, 1, 2):
        store(run, "sensitivity", state=state)
    sentences, figures = shown(tmp_path)
    states = [text.partition(")")[0] for text in sentences if text.startswith("Sensitivity")]
    assert states == ["Sensitivity: refill (R1, state 0", "Sensitivity: refill (R1, state 2"]
    assert len({figure.name for figure in figures}) == 2


def of_another_model(directory: RunDirectory) -> None:
    write_json(directory.manifest(2), {"sha256": {"best": "def"}})


def without_its_figure(directory: RunDirectory) -> None:
    (directory.analysis / "state_02/errors-one.svg").unlink()


def with_other_bytes(directory: RunDirectory) -> None:
    (directory.analysis / "state_02/errors.npz").write_bytes(b"other")


def cut_short(directory: RunDirectory) -> None:
    path = directory.analysis / "state_02/errors.json"
    path.write_bytes(path.read_bytes()[:100])


def of_another_format(directory: RunDirectory) -> None:
    path = directory.analysis / "state_02/errors.json"
    write_json(path, {**read_json_object(path), "format": 0})


@pytest.mark.parametrize("spoil", [of_another_model, without_its_figure, with_other_bytes, cut_short, of_another_format])
def test_what_is_stale_or_damaged_counts_as_missing(spoil: Any, tmp_path: Path) -> None:
    spoil(store(write_flat(tmp_path, "refill", REFILL)[0], "errors"))
    (sentence,), figures = shown(tmp_path)
    assert sentence.startswith("Not analysed: refill. ")
    assert figures == []


def test_of_many_configurations_only_some_have_their_figures_in_the_page(tmp_path: Path) -> None:
    for number in range(MOST_SHOWN + 2):
        store(write_flat(tmp_path, "refill", {0: [80.0, 81.0, 82.0]}, schedule__target=0.1 + 0.1 * number)[0], "errors")
    sentences, figures = shown(tmp_path)
    assert len(figures) == MOST_SHOWN
    assert any(sentence.startswith("Further analyses, not shown here: `") for sentence in sentences)
