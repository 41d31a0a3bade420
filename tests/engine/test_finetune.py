"""`prune.finetune` trains as the run does, and touches nothing of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

import prune
from prune.architectures.build import restore_model
from prune.base.errors import UserError
from prune.base.files import read_json, read_jsonl
from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet
from prune.rundir.directory import RunDirectory
from tests.conftest import Compose
from tests.engine.runs import RunTiny, equal, final, finished


def kept(directory: RunDirectory, state: int) -> KeepSet:
    groups = read_json(directory.manifest(state))["groups"]
    return KeepSet.from_lists({name: group["kept"] for name, group in groups.items()})


def digest(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_model_pruned_by_hand_trains_to_the_runs_own(run_tiny: RunTiny, compose_tiny: Compose) -> None:
    """State 1 of a Refill run without rewinding is: cut state 0's final model down, then train."""
    overrides = ("method=refill", "method.rewind=none")
    directory, architecture = finished(run_tiny(*overrides)), compose_tiny(*overrides).architecture()
    alive, keep = kept(directory, 0), kept(directory, 1)
    model = restore_model(architecture, alive.counts(), final(directory, 0), torch.device("cpu"))
    compact(model, architecture, alive, keep)
    before = digest(directory.path)
    found = prune.finetune(model, directory.path, state=1)
    line = read_jsonl(directory.states)[1]
    assert found.best_epoch == line["best_epoch"]
    assert (found.val_accuracy_best, found.test_accuracy_best) == (line["val_accuracy_best"], line["test_accuracy_best"])
    assert (found.val_accuracy[-1], found.test_accuracy_final) == (line["val_accuracy_final"], line["test_accuracy_final"])
    assert equal(found.model.state_dict(), prune.load(directory.state(1)).state_dict())
    assert digest(directory.path) == before


def test_what_is_not_there_is_one_sentence(run_tiny: RunTiny, tmp_path: Path) -> None:
    model = torch.nn.Identity()
    with pytest.raises(UserError, match="is not the directory of a run that has begun"):
        prune.finetune(model, tmp_path)
    directory = finished(run_tiny("method=refill"))
    with pytest.raises(UserError, match=r"state=3: .* has states 0 to 2"):
        prune.finetune(model, directory.path, state=3)
