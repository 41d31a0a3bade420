"""The command on a real run: what it writes, that it computes nothing twice, and what it says of bad input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from prune.analysis import work
from prune.analysis.base import Analysis, Numbers, Shown, Subject
from prune.base.files import read_json_object, write_json
from prune.base.registries import ANALYSES
from prune.cli import main
from prune.engine.cell import run_cell
from prune.rundir.directory import RunDirectory
from tests.conftest import TINY_RUN, Compose

QUICK = ("--only", "weights,errors")


def analyse(*arguments: str | Path) -> int:
    return main(["analyse", *map(str, arguments)])


def test_it_measures_the_first_and_the_last_state_and_then_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyse(run.parent, *QUICK) == 0
    assert "4 computed" in capsys.readouterr().out
    folders = {path.name: sorted(file.stem for file in path.glob("*.json")) for path in (run / "analysis").iterdir()}
    assert folders == {"state_00": ["errors", "weights"], "state_02": ["errors", "weights"]}
    before = {path: path.stat().st_mtime_ns for path in (run / "analysis").rglob("*")}
    assert analyse(run.parent, *QUICK) == 0
    assert "4 there already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (run / "analysis").rglob("*")} == before


def test_only_what_changed_is_computed_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    analyse(run, *QUICK)
    (run / "analysis/state_00/errors.npz").write_bytes(b"damaged")
    (run / "analysis/state_02/weights-norms.svg").unlink()
    capsys.readouterr()
    assert analyse(run, *QUICK) == 0
    assert "2 there already, 2 computed" in _sorted_counts(capsys.readouterr().out)
    assert analyse(run, *QUICK, "--images", "50") == 0  # weights look at no images
    assert "2 there already, 2 computed" in _sorted_counts(capsys.readouterr().out)
    assert read_json_object(run / "analysis/state_02/errors.json")["images"] == 50


def _sorted_counts(output: str) -> str:
    counts = output.partition("Analyses: ")[2].partition(".")[0].split(", ")
    return ", ".join(sorted(counts, key=lambda text: text.split()[1], reverse=True))


def test_interrupted_it_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    compute, done = work.compute, []

    def interrupted(item: work.Item, track: Any) -> str | None:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(item)
        return compute(item, track)

    with monkeypatch.context() as patch:
        patch.setattr(work, "compute", interrupted)
        assert analyse(run, *QUICK) != 0
    capsys.readouterr()
    assert analyse(run, *QUICK) == 0
    assert "1 there already, 3 computed" in _sorted_counts(capsys.readouterr().out)


class Mine(Analysis):
    """An analysis of somebody else's."""

    title = "Mine"
    most_images = 10

    def measure(self, subject: Subject) -> Numbers:
        return {"images": len(subject.images), "kinds": np.arange(len(subject.structure.kinds))}

    def show(self, subject: Subject, numbers: Numbers) -> Shown:
        return Shown([], [f"There are {numbers['images']} images."])


def test_an_analysis_of_another_package_is_one_more_name(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ANALYSES.table["mine"] = f"{__name__}:Mine"  # as its entry point `prune.analyses` would
    assert analyse(run, "--only", "mine", "--states", "1") == 0
    assert read_json_object(run / "analysis/state_01/mine.json")["sentences"] == ["There are 10 images."]
    with np.load(run / "analysis/state_01/mine.npz") as arrays:
        assert arrays["kinds"].tolist() == [0, 1]
    del ANALYSES.table["mine"]
    assert main(["report", str(run), "--format", "md"]) == 0  # where the package is not installed
    assert "Mine: refill" in (run / "report/report.md").read_text()


def test_the_runs_own_files_are_left_alone(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    analyse(run, *QUICK)
    assert {path: path.read_bytes() for path in before} == before


# ---- bad input ----------------------------------------------------------------------------------------------------------


def without_states(run: Path) -> None:
    (run / "states.jsonl").write_text("")
    (run / "status.json").unlink()


def without_best_of_state_2(run: Path) -> None:
    (run / "checkpoints/state_02/best.safetensors").unlink()


def of_a_method_that_is_not_here(run: Path) -> None:
    directory = RunDirectory(run)
    config = directory.read_config()
    directory.write_config({**config, "method": {**config["method"], "name": "movement"}})
    status = read_json_object(directory.status)
    status["starts"][-1]["plugins"] = {"method.name": "my-pruning 1.2"}
    write_json(directory.status, status)


def without_facts(run: Path) -> None:
    (run / "data.json").unlink()


def of_another_version(run: Path) -> None:
    directory = RunDirectory(run)
    config = directory.read_config()
    directory.write_config({**config, "schedule": {**config["schedule"], "warmups": 3}})


def of_other_data(run: Path) -> None:
    write_json(run / "data.json", {**read_json_object(run / "data.json"), "fingerprint": "0" * 64})


def unchanged(run: Path) -> None:
    pass


BAD: list[tuple[Callable[[Path], None], tuple[str, ...], str]] = [
    (unchanged, ("--only", "nothing"), "--only=nothing must be a list of weights, errors"),
    (unchanged, ("--only", ""), "--only= must be a list of"),
    (unchanged, ("--states", "first"), "--states=first must be a list of numbers, ranges such as 1-5, last or all"),
    (unchanged, ("--states", "1-7"), "--states=1-7: state 3–7 is not finished; finished: 0–2"),
    (unchanged, ("--device", "gpu"), "--device gpu is not known"),
    (without_states, (), "no state is finished yet"),
    (without_best_of_state_2, (), "best.safetensors is missing; the run kept other models only (checkpoint.keep)"),
    (of_a_method_that_is_not_here, (), "The run was made with my-pruning 1.2: install it here"),
    (of_another_version, (), "config.yaml is of another version: schedule.warmups is not a key"),
    (without_facts, (), "data.json is missing"),
    (of_other_data, (), "has changed since this run began"),
]


@pytest.mark.parametrize(("spoil", "arguments", "sentence"), BAD, ids=[f"{s.__name__} {' '.join(a)}" for s, a, _ in BAD])
def test_bad_input_gets_one_sentence(
    spoil: Callable[[Path], None], arguments: tuple[str, ...], sentence: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(run)
    assert analyse(run, *(arguments or QUICK)) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


class Restless(Mine):
    """It depends on how often it was measured, which changes while it is."""

    times: ClassVar[list[int]] = []

    def sources(self, subject: Subject) -> dict[str, Any]:
        return {"times": len(self.times)}

    def measure(self, subject: Subject) -> Numbers:
        self.times.append(subject.state)
        return super().measure(subject)


def test_what_changed_while_it_was_measured_is_measured_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ANALYSES.table["restless"] = f"{__name__}:Restless"
    for _ in range(2):
        assert analyse(run, "--only", "restless", "--states", "1") == 0
        assert "1 computed" in capsys.readouterr().out


def test_float32_is_float32_whatever_torch_would_allow(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    torch.set_float32_matmul_precision("medium")
    assert analyse(run, "--only", "weights", "--states", "0") == 0
    assert not torch.backends.cudnn.allow_tf32 and torch.get_float32_matmul_precision() == "highest"


def test_one_reason_is_said_once_for_all_analyses_of_a_state(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a run that kept the last state's models only."""
    without_best_of_state_2(run)
    assert analyse(run, *QUICK, "--states", "2") == 1
    shown = capsys.readouterr()
    assert f"error: {run.name}, state 2, weights, errors: " in shown.err and shown.err.count("error: ") == 1
    assert "Analyses: 2 not possible." in shown.out


def test_a_family_without_attention_is_told_and_remembered(compose: Compose, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = [override for override in TINY_RUN if not override.startswith("model.")]
    sizes = ("model=mamba_micro", "model.depth=1", "model.embed_dim=16", "schedule.states=2")
    outcome = run_cell(compose(*[o for o in tiny if o != "schedule.states=3"], *sizes, "method=refill"))
    assert outcome.status == "done", outcome.error
    for ending in ("2 refused", "2 there already"):
        assert analyse(outcome.directory.path, "--only", "attention") == 0
        said = capsys.readouterr().out
        assert "attention: A Vision Mamba has none" in said and ending in said


def test_a_folder_of_images_that_moved_is_named_and_can_be_given(
    compose: Compose, image_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = [override for override in TINY_RUN if not override.startswith(("dataset=", "optim.batch_size"))]
    data = ("dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=16", "optim.batch_size=8",
            "dataset.val_fraction=0.25", "hardware.workers=0")  # fmt: skip
    outcome = run_cell(compose(*tiny, *data, "method=refill", "schedule.states=2"))
    assert outcome.status == "done", outcome.error
    run, moved = outcome.directory.path, image_folder.with_name("moved")
    image_folder.rename(moved)
    assert analyse(run, "--only", "errors", "--states", "1") == 1
    assert f"dataset.root={image_folder}" in capsys.readouterr().err
    assert analyse(run, "--only", "errors", "--states", "1", "--root", moved) == 0
    shutil.copy(next(moved.glob("train/ant/*.jpg")), moved / "train/ant/another.jpg")
    capsys.readouterr()
    assert analyse(run, "--only", "errors", "--states", "1", "--root", moved, "--again") == 1
    assert "has changed since this run began" in capsys.readouterr().err


def test_one_run_that_cannot_be_analysed_does_not_hide_another(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Path(shutil.copytree(run, run.with_name("another")))
    without_states(other)
    assert analyse(run.parent, *QUICK) == 1
    shown = capsys.readouterr()
    assert "another: no state is finished yet" in shown.err
    assert "4 computed, 1 not possible" in shown.out
