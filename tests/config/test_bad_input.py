"""Bad input: exit code 1 and one sentence on stderr that names the key, before any training."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from prune.architectures.build import build_model
from tests.config.bad_input import check_sentence, check_untrained, launch
from tests.config.bad_input_table import TABLE
from tests.conftest import CONF, TINY_RUN, compose_config
from tests.report.sweep import configuration, state_line, write_run

ROOT = CONF.parent


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files and folders that are wrong in one way each."""
    base = tmp_path_factory.mktemp("places")
    found = {name: base / name for name in ("missing", "empty", "no_images", "images", "broken_image", "file")}
    found |= {name: base / f"{name}.safetensors" for name in ("broken_weights", "other_shape", "lacking", "fitting")}
    found["empty"].mkdir()
    (found["no_images"] / "train/ant").mkdir(parents=True)
    (found["no_images"] / "test/ant").mkdir(parents=True)
    for root in (found["images"], found["broken_image"]):
        for number in range(16):
            path = root / ("train", "test")[number % 4 == 3] / ("ant", "bee")[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), 10 * number, dtype=np.uint8)).save(path)
        (root / "test/ant").mkdir(exist_ok=True)
    broken = found["broken_image"] / "train/bee/1.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    found["file"].write_text("a file where a folder should be")
    config = compose_config(base / "outputs", *TINY_RUN)
    tensors = build_model(config.architecture(), seed=0).state_dict()
    save_file({**tensors, "blocks.1.mlp.fc1.weight": tensors["blocks.1.mlp.fc1.weight"][1:].clone()}, found["other_shape"])
    save_file(tensors, found["fitting"])
    save_file({name: tensor for name, tensor in tensors.items() if name != "blocks.0.attn.qkv.bias"}, found["lacking"])
    found["broken_weights"].write_bytes(found["lacking"].read_bytes()[:50])
    return found | runs_to_count(base)


def runs_to_count(base: Path) -> dict[str, Path]:
    """Runs of which no other can take its counts."""

    def written(name: str, content: dict[str, Any], states: int = 3) -> Path:
        lines = [state_line(content, state, 80.0) for state in range(states)]
        return write_run(base / name, content, lines, status={} if states == 3 else {"status": "preempted"})

    tiny = compose_config(base / "outputs", *TINY_RUN)
    ours = [method.model_dump(mode="json") for method in (tiny, compose_config(base / "outputs", *TINY_RUN, "method=rsst"))]
    for content in ours:
        written("several", content)
    unfinished, wide = written("unfinished", ours[0], states=2), written("wide", configuration())
    return {"several": base / "several", "unfinished": unfinished, "wide": wide}


@pytest.mark.parametrize(("overrides", "fragment"), TABLE, ids=[overrides for overrides, _ in TABLE])
def test_one_sentence_before_any_training(
    overrides: str, fragment: str, places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = overrides.format(**places).split()
    assert launch(*TINY_RUN, f"outputs={tmp_path}", *typed) == 1
    check_sentence(capsys.readouterr().err, fragment)
    check_untrained(tmp_path)


def test_an_extra_that_is_not_installed_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "torch_pruning" else plain(name, *more))
    assert launch(*TINY_RUN, f"outputs={tmp_path}", "method.criterion=tp_taylor") == 1
    check_sentence(capsys.readouterr().err, "method.criterion=tp_taylor needs torch-pruning; install it with: pip install")
    check_untrained(tmp_path)


def test_a_pretrained_file_can_be_put_right_but_not_changed_under_a_run(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.safetensors"
    command = [*TINY_RUN, f"outputs={tmp_path}", f"model.pretrained={weights}"]
    weights.write_bytes(places["lacking"].read_bytes())
    assert launch(*command) == 1
    check_sentence(capsys.readouterr().err, "it lacks blocks.0.attn.qkv.bias")
    weights.write_bytes(places["fitting"].read_bytes())
    monkeypatch.setattr("prune.engine.watch.Watcher.epoch", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert launch(*command) == 130
    monkeypatch.undo()
    weights.write_bytes(places["other_shape"].read_bytes())
    assert launch(*command) == 1
    check_sentence(capsys.readouterr().err, "weights.safetensors has changed since this run began")
    weights.write_bytes(places["fitting"].read_bytes())
    assert launch(*command) == 0


def test_the_run_that_the_table_spoils_is_fine(tmp_path: Path) -> None:
    assert launch(*TINY_RUN, f"outputs={tmp_path}") == 0


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ("schedule.targt=0.5", "error: schedule.targt is not a key of this configuration (did you mean schedule.target?)."),
        ("-m +optim.learning=1,2", "error: +optim.learning=1: optim.learning is not a key of this configuration ("),
        ("-m schedule.target=0.5,1.5", "error: schedule.target=1.5: schedule.target=1.5 must be a number above 0 and below 1."),
        ("seed=0,1", "error: seed=0,1 is more than one value; -m runs each of them, and brackets make a list: seed=[0,1]."),
        ("-m method=refill,rest", "error: method=rest must be one of dense, phases, refill, rsst, scratch."),
        ("outputs={file}/runs", "cannot be written"),
        ("optim.batch_size=5000", "optim.batch_size=5000 is larger than the training split, which has 1203 images."),
    ],
)
def test_the_real_command(arguments: str, fragment: str, places: dict[str, Path], tmp_path: Path) -> None:
    typed = arguments.format(**places).split()
    where = [] if "outputs=" in arguments else [f"outputs={tmp_path}"]
    flags = [argument for argument in typed if argument == "-m"]
    rest = [argument for argument in typed if argument != "-m"]
    command = [sys.executable, str(ROOT / "launch.py"), *flags, *TINY_RUN, *where, *rest]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    check_sentence(result.stderr, fragment)
    check_untrained(tmp_path)
