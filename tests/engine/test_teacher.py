"""Runs with a recipe: exact when interrupted, taught by their own dense model or another run's, or refused in a sentence."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest
import timm
import torch

import prune
from prune.base.errors import UserError
from prune.base.files import read_jsonl
from prune.engine import saver, teacher
from prune.engine.cell import run_cell
from prune.engine.teacher import Teachers
from prune.sweep.work import flops_left, is_exact
from tests.conftest import Compose
from tests.engine.durability import differences
from tests.engine.runs import RunTiny, equal, final, finished, stop_at
from tests.engine.states import first_state
from tests.faults.sweeps import in_a_child

EVERYTHING = (
    "recipe.mix.mixup=0.8", "recipe.mix.cutmix=1.0", "recipe.randaugment.ops=2", "recipe.erasing.prob=0.25",
    "recipe.distillation.teacher=state0", "optim.label_smoothing=0.1", "model.drop_path_rate=0.1", "share_dense=false",
)  # fmt: skip


def test_a_run_with_all_of_it_goes_on_exactly(run_tiny: RunTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = finished(run_tiny("method=rsst", *EVERYTHING)).path.rename(tmp_path / "whole")
    for state, epoch, step in ((0, 1, 3), (1, 0, 5), (2, 1, 8)):
        stop_at(monkeypatch, state, epoch, step)
        stopped = run_tiny("method=rsst", *EVERYTHING)
        assert stopped.status == "preempted"
        monkeypatch.undo()
    again = finished(run_tiny("method=rsst", *EVERYTHING))
    assert differences(whole, again.path) == []
    accuracies = [line["train_accuracy"] for line in read_jsonl(again.metrics)]
    assert all(0 <= accuracy <= 100 for accuracy in accuracies)


PARTS = {
    "mixup": ("recipe.mix.mixup=0.8",),
    "cutmix": ("recipe.mix.cutmix=1.0",),
    "randaugment": ("recipe.randaugment.ops=2",),
    "erasing": ("recipe.erasing.prob=0.5",),
    "teacher": ("recipe.distillation.teacher=state0", "recipe.distillation.kind=hard"),
}


@pytest.mark.parametrize("where", ["resident", "streamed"])
@pytest.mark.parametrize("part", PARTS)
def test_each_part_goes_on_exactly_after_a_stop_and_a_kill_in_the_middle_of_an_epoch(
    compose_tiny: Compose, image_folder: Path, monkeypatch: pytest.MonkeyPatch, part: str, where: str
) -> None:
    """Saves are made as on a GPU, by a thread and not after every epoch."""
    monkeypatch.setattr(saver, "IN_BACKGROUND", ("cuda", "cpu"))
    keys = (
        "dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=8", "dataset.augment.crop_padding=1",
        f"dataset.resident={str(where == 'resident').lower()}", "optim.batch_size=4", "checkpoint.every_seconds=auto",
        "method=rsst", "share_dense=false", *PARTS[part],
    )  # fmt: skip
    whole = finished(run_cell(compose_tiny(*keys, "name=whole"))).path
    steps = 8  # in an epoch: 33 training images in batches of 4
    disturbed = compose_tiny(*keys, "name=disturbed")
    draw = random.Random(f"{part} {where}")
    with monkeypatch.context() as patch:
        stop_at(patch, draw.randrange(2), draw.randrange(2), draw.randint(1, steps - 1))
        assert run_cell(disturbed).status == "preempted"
    with monkeypatch.context() as patch:
        stop_at(patch, 2, draw.randrange(2), draw.randint(1, steps - 1), signal.SIGKILL)
        assert in_a_child(lambda: run_cell(disturbed)) == -signal.SIGKILL
    assert differences(whole, finished(run_cell(disturbed)).path) == []


def test_the_dense_model_teaches_from_state_1_on_and_stays_for_it(run_tiny: RunTiny) -> None:
    plain = finished(run_tiny("method=refill"))
    taught = finished(run_tiny("method=refill", "recipe.distillation.teacher=state0", "checkpoint.keep=last"))
    assert not equal(final(plain, 2), final(taught, 2))
    assert (taught.state(0) / "best.safetensors").exists() and not (taught.state(0) / "final.safetensors").exists()
    assert not (taught.state(1) / "best.safetensors").exists()
    dense = [line for line in read_jsonl(taught.states) if line["state"] == 0]
    assert dense[0]["test_accuracy_best"] == read_jsonl(plain.states)[0]["test_accuracy_best"]


def test_state_0_has_no_teacher_where_it_is_the_teacher(compose_tiny: Compose, tmp_path: Path) -> None:
    job, state = first_state(compose_tiny("recipe.distillation.teacher=state0"), tmp_path)
    assert state.teacher is None
    with pytest.raises(UserError, match="state_00"):
        job.teachers.of(1)


def test_another_runs_model_teaches_every_state(run_tiny: RunTiny, compose_tiny: Compose, tmp_path: Path) -> None:
    run = finished(run_tiny("method=dense", "seed=1"))
    path = run.state(0)
    job, state = first_state(compose_tiny(f"recipe.distillation.teacher={path}"), tmp_path)
    assert state.teacher is not None and state.teacher is job.teachers.of(1)
    images = next(iter(job.loader.evaluation("val", 32)))[0]
    assert torch.equal(state.teacher.answer(images), prune.load(path)(images))
    assert state.flops_of_step() == 128 * (6 + 2) * job.architecture.structure.macs()
    plain, taught = (compose_tiny("method=dense", *keys) for keys in ((), (f"recipe.distillation.teacher={path}",)))
    planned, more = flops_left(plain), flops_left(taught)
    assert planned is not None and more is not None and 3 * more == 4 * planned and is_exact(taught)


def test_a_teacher_that_changes_under_a_run_is_refused(
    run_tiny: RunTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (finished(run_tiny("method=dense", f"seed={seed}")).state(0) for seed in (1, 2))
    given = shutil.copytree(one, tmp_path / "teacher")
    stop_at(monkeypatch, 0, 1, 2)
    keys = ("method=refill", f"recipe.distillation.teacher={given}")
    assert run_tiny(*keys).status == "preempted"
    monkeypatch.undo()
    shutil.rmtree(given)
    shutil.copytree(other, given)
    refused = run_tiny(*keys)
    assert refused.status == "failed" and "has changed since this run began" in str(refused.error)
    shutil.rmtree(given)
    shutil.copytree(one, given)
    finished(run_tiny(*keys))


def test_a_teacher_of_a_run_that_goes_on_is_refused(run_tiny: RunTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `checkpoint.keep` may remove the model, and its directory means another model with each state."""
    teaches = ("method=dense", "seed=1", "schedule.states=2", "checkpoint.keep=last")
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 1, 2)
        run = run_tiny(*teaches).directory
    for named in (run.path, run.state(0), run.state(0) / "best.safetensors"):
        refused = run_tiny("method=refill", "schedule.states=2", f"recipe.distillation.teacher={named}")
        assert refused.status == "failed" and f"{run.path} is not finished, and may yet remove state_00" in str(refused.error)
        assert not refused.directory.states.exists() and not refused.directory.has_begun
    copy = shutil.copytree(run.state(0), tmp_path / "teacher")
    finished(run_tiny("method=refill", "schedule.states=2", f"recipe.distillation.teacher={copy}"))
    finished(run_tiny(*teaches))
    finished(run_tiny("method=refill", "schedule.states=2", f"recipe.distillation.teacher={run.path}"))


def test_a_teacher_of_other_classes_or_sizes_is_refused(run_tiny: RunTiny) -> None:
    other = finished(run_tiny("method=dense")).state(0)
    refused = run_tiny("dataset=digit_pairs", "method=refill", f"recipe.distillation.teacher={other}")
    assert refused.status == "failed" and "name a teacher of the same classes" in str(refused.error)


def test_timms_models_teach_with_their_own_weights_and_colours(
    compose: Compose, compose_tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network the weights cannot be had; what is done with them can be tried with a model that is made here."""
    config = compose_tiny("dataset.channels=3", "recipe.distillation.teacher=vit_tiny_patch16_224", "dataset.image_size=32")
    facts = prune.data.base.DataFacts([0.5] * 3, [0.25] * 3, [str(label) for label in range(10)], None)
    monkeypatch.setattr(teacher, "timm_model", lambda name, key: timm.create_model(name, num_classes=classes))
    classes = 10
    found = Teachers(config, None, facts, torch.device("cpu")).of(0)  # type: ignore[arg-type]
    assert found is not None and found.answer(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    same = compose("dataset=digits", "model=vit_tiny", "model.patch_size=16", "dataset.channels=3", "dataset.image_size=32")
    assert found.macs == same.architecture(10).structure.macs()
    assert not is_exact(config)
    classes = 1000
    with pytest.raises(UserError, match=r"vit_tiny_patch16_224 tells 1000 classes apart, dataset.name=digits has 10"):
        Teachers(config, None, facts, torch.device("cpu")).of(0)  # type: ignore[arg-type]
