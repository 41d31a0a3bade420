"""A run that takes its state 0 over from another of its sweep is the run that it would have been by itself."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from prune import load
from prune.architectures.build import build_model
from prune.base.files import read_json, read_jsonl
from prune.engine.cell import Task, run_cell
from prune.engine.finetune import finetune
from prune.engine.run import Run
from prune.rundir.checkpoint import dump_tensors
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.rundir.reader import is_finished, read_run
from tests.conftest import TINY_RUN, Compose
from tests.engine.durability import differences
from tests.engine.runs import RunTiny, finished, said, stop_at
from tests.faults.resume import Said, apart
from tests.faults.sweeps import in_a_child

POINTS = ("init", "epoch:0", "epoch:1")
"""What the cells below rewind to; the first of them does not."""

CELLS = (
    ("method=dense", "method.rewind=none"),
    ("method=refill", "method.rewind=init"),
    ("method=refill", "method.rewind=epoch:0", "method.scope=layer"),
    ("method=rsst", "method.rewind=none", "method.targets=[heads]"),
    ("method=rsst", "method.rewind=epoch:1", "schedule.target=0.5", "schedule.states=2"),
    ("method=dense", "method.rewind=init"),
)
"""Methods, targets, numbers of states: nothing of that is seen in state 0."""

MAMBA = (
    *(key for key in TINY_RUN if not key.startswith("model.")),
    "model=mamba_hybrid_micro",
    "model.patch_size=4",
    "model.embed_dim=16",
    "model.d_state=4",
    "schedule.states=2",
)


def origin(directory: RunDirectory) -> str | None:
    """Which run a run's state 0 is from; None if it is its own."""
    found = read_json(directory.dense)
    assert found == read_json(directory.status)["dense"]
    return None if found is None else found["run"]


@pytest.mark.parametrize("keep", ["all", "last"])
def test_every_tensor_and_line_is_that_of_a_run_that_does_not_share(compose_tiny: Compose, keep: str, tmp_path: Path) -> None:
    cells = CELLS if keep == "all" else CELLS[1:4]
    first = None
    for overrides in cells:
        options = (*overrides, f"checkpoint.keep={keep}")
        shared = finished(run_cell(compose_tiny(*options), Task(POINTS)))
        alone = finished(run_cell(compose_tiny(*options, "share_dense=false", f"outputs={tmp_path / 'alone'}")))
        assert apart(alone.path, shared.path) == []
        assert origin(shared) == first
        assert origin(alone) is None
        assert is_finished(read_run(shared.path))
        first = first or shared.path.name
    assert not list((tmp_path / "alone").rglob(".dense"))
    assert len(list((tmp_path / "outputs").rglob(".dense/*/dense.json"))) == 1


def test_another_family(tmp_path: Path, compose: Compose) -> None:
    finished(run_cell(compose(*MAMBA, "method=refill", "method.rewind=none")))
    shared = finished(run_cell(compose(*MAMBA, "method=rsst", "method.rewind=init")))
    assert origin(shared) is not None
    alone = run_cell(compose(*MAMBA, "method=rsst", "method.rewind=init", "share_dense=false", f"outputs={tmp_path / 'alone'}"))
    assert apart(finished(alone).path, shared.path) == []


def test_a_stopped_run_that_has_taken_state_0_over_goes_on_without_what_it_took(
    run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(run_tiny("method=refill"))
    with monkeypatch.context() as patch:
        stop_at(patch, 2, 1, 3)
        outcome = run_tiny("method=rsst")
    assert outcome.status == "preempted"
    shutil.rmtree(outcome.directory.path.parent / ".dense")
    outcome.directory.dense.write_text("damaged")
    outcome.directory.last.unlink()  # so that the one before, or state 1, is gone on from
    directory = finished(run_tiny("method=rsst"))
    assert differences(whole, directory.path) == []
    assert origin(directory) is not None


def test_it_is_exported_and_finetuned_as_any_other(run_tiny: RunTiny) -> None:
    finished(run_tiny("method=dense"))
    directory = finished(run_tiny("method=refill", "schedule.states=2"))
    shutil.rmtree(directory.path.parent / ".dense")
    assert sum(p.numel() for p in load(directory.state(0)).parameters()) == read_jsonl(directory.states)[0]["parameters"]
    found = finetune(load(directory.state(0)), directory.path, epochs=1)
    assert found.test_accuracy_best > 0


@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_what_is_gone_by_the_time_it_is_taken_is_trained(
    compose_tiny: Compose, whole: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """Between finding a state 0 and taking it lies the loading of the data; the folder may be removed at any time."""
    finished(run_cell(compose_tiny("method=refill")))
    take_over = Run.take_over

    def late(run: Run) -> None:
        assert run.job.sharing.found is not None
        place = run.job.sharing.found.directory.path
        if damage == "removed":
            shutil.rmtree(place)
        else:
            (place / "best.safetensors").write_bytes(b"other")
        take_over(run)

    with monkeypatch.context() as patch, Said() as log:
        patch.setattr(Run, "take_over", late)
        directory = finished(run_cell(compose_tiny("method=rsst")))
    assert log.names("this run trains its own state 0")
    assert differences(whole, directory.path) == []
    assert origin(directory) is None
    assert origin(finished(run_cell(compose_tiny("method=dense")))) == directory.path.name


def test_images_that_have_changed_make_another_state_0(compose_tiny: Compose, image_folder: Path) -> None:
    folder = (f"dataset.root={image_folder}", "dataset.image_size=16", "model.patch_size=8", "optim.batch_size=8")
    cell = partial(compose_tiny, "dataset=image_folder", *folder)
    first = finished(run_cell(cell("method=refill")))
    (image_folder / "train" / "ant" / "0000.jpg").unlink()
    outcome = said(lambda: run_cell(cell("method=rsst")), "it was trained when the images were others")
    assert origin(finished(outcome)) is None
    third = finished(run_cell(cell("method=dense")))
    assert origin(third) == outcome.directory.path.name != first.path.name


def test_pretrained_weights_that_have_changed_make_another_state_0(compose_tiny: Compose, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    for seed in (1, 2):
        weights.write_bytes(dump_tensors(build_model(compose_tiny().architecture(), seed).state_dict()))
        cells = [compose_tiny(f"method={method}", f"model.pretrained={weights}") for method in ("refill", "dense")]
        if seed == 1:
            assert origin(finished(run_cell(cells[0]))) is None
    outcome = said(lambda: run_cell(cells[1]), "when model.pretrained held other weights")
    assert origin(finished(outcome)) is None
    third = finished(run_cell(compose_tiny("method=rsst", f"model.pretrained={weights}")))
    assert origin(third) == outcome.directory.path.name
    assert read_json(third.weights) == read_json(outcome.directory.weights)


def test_a_teacher_that_has_changed_makes_another_state_0(run_tiny: RunTiny, tmp_path: Path) -> None:
    teachers = [finished(run_tiny("method=dense", "schedule.states=2", f"seed={seed}")).state(0) for seed in (1, 2)]
    given = tmp_path / "teacher"
    taught = ("schedule.states=2", f"recipe.distillation.teacher={given}")
    shutil.copytree(teachers[0], given)
    assert origin(finished(run_tiny("method=refill", *taught))) is None
    shutil.rmtree(given)
    shutil.copytree(teachers[1], given)
    outcome = said(lambda: run_tiny("method=rsst", *taught), "when recipe.distillation.teacher held other weights")
    assert origin(finished(outcome)) is None
    assert origin(finished(run_tiny("method=dense", *taught))) == outcome.directory.path.name


def test_a_kill_before_state_0_was_saved_loses_nothing(compose_tiny: Compose, whole: Path) -> None:
    """It is shared before last.pt says that it is over: the run that trained it takes it over itself."""
    config = compose_tiny("method=rsst")

    def die_after_sharing() -> None:
        share = Run.share

        def shared(run: Run, state: object) -> None:
            share(run, state)  # type: ignore[arg-type]
            os.kill(os.getpid(), 9)

        Run.share = shared  # type: ignore[method-assign, assignment]
        run_cell(config)

    assert in_a_child(die_after_sharing) == -9
    directory = finished(run_cell(config))
    assert differences(whole, directory.path) == []
    assert origin(directory) == directory.path.name
    assert len(read_jsonl(run_directory(config).metrics)) == 6


def test_state_0_alone_can_be_a_job_of_its_own(compose_tiny: Compose, whole: Path) -> None:
    config = compose_tiny("method=rsst")
    first = run_cell(config, Task(dense_only=True))
    assert (first.status, read_json(first.directory.status)["status"]) == ("done", "queued")
    assert len(read_jsonl(first.directory.states)) == 1
    assert not first.directory.checksums.exists()
    assert differences(whole, finished(run_cell(config)).path) == []


def test_a_state_0_that_fails_leaves_the_run_to_the_job_that_comes_after(compose_tiny: Compose) -> None:
    config = compose_tiny("optim.lr=1e30")
    first = run_cell(config, Task(dense_only=True))
    assert first.status == "failed" and "loss became" in str(first.error)
    assert read_json(first.directory.status)["status"] == "queued"
    second = run_cell(config)
    assert second.status == "failed" and read_json(second.directory.status)["status"] == "failed"
    assert not list(first.directory.path.parent.glob(".dense/*/dense.json")), "nothing is offered to others"
