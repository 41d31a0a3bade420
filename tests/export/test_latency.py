"""`python -m prune latency`: what is measured, in which order, and what it writes. No time is asserted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune.cli import main
from prune.export import timing
from prune.export.latency import dense_model
from prune.export.timing import Latency, measure
from prune.rundir.directory import RunDirectory
from prune.rundir.manifest import read_manifest
from tests.rundir.models import edit_manifest, save_pruned

QUICK = ["--repeats", "3", "--seconds", "0", "--warmup", "1", "--threads", "1", "--device", "cpu"]


def test_a_models_latencies_are_written_beside_it(tmp_path: Path, capsys: Any) -> None:
    saved = save_pruned(tmp_path / "run", heads=[[], [1]])
    assert main(["latency", str(tmp_path / "run"), "--batch-size", "1,4", *QUICK]) == 0
    content = json.loads((saved.folder / "latency.json").read_text())
    lines = [(line["engine"], line["batch_size"], line["variant"]) for line in content["results"]]
    engines = ("torch", "onnxruntime")
    assert lines == [(name, size, variant) for name in engines for size in (1, 4) for variant in ("dense", "pruned")]
    for line in content["results"]:
        assert 0 < line["median_ms"] <= line["p90_ms"]
        assert line["images_per_second"] == pytest.approx(1000 * line["batch_size"] / line["median_ms"])
        assert line["passes"] == 3
    assert content["machine"]["threads"] == 1
    assert content["machine"]["device"].startswith("cpu")
    assert content["machine"]["torch"] == torch.__version__
    assert {"onnxruntime"} <= set(content["machine"])
    shown = capsys.readouterr().out
    assert "run, state 1" in shown
    assert str(saved.folder / "latency.json") in shown.replace("\n", "")


def test_the_dense_model_is_the_one_before_pruning(tmp_path: Path) -> None:
    saved = save_pruned(tmp_path / "run")
    before = torch.get_rng_state()
    dense = dense_model(read_manifest(saved.folder))
    assert torch.equal(torch.get_rng_state(), before)
    shapes = {name: tensor.shape for name, tensor in saved.masked.state_dict().items()}
    assert {name: tensor.shape for name, tensor in dense.state_dict().items()} == shapes


def test_a_sweeps_folder_means_every_runs_last_state(tmp_path: Path, capsys: Any) -> None:
    sweep = tmp_path / "sweep"
    for name, states in (("one", (0, 1)), ("two", (0,)), ("unfinished", ())):
        (sweep / name).mkdir(parents=True)
        RunDirectory(sweep / name).write_config({"name": "sweep"})
        for state in states:
            save_pruned(sweep / name, state=state)
    damaged = sweep / "three"
    shutil.copytree(sweep / "two", damaged)
    edit_manifest(damaged / "checkpoints" / "state_00", lambda content: content["sha256"].update(best="0"))
    old = sweep / "old"  # of another version
    shutil.copytree(sweep / "two", old)
    (old / "config.yaml").write_text("name: sweep\n")
    edit_manifest(old / "checkpoints" / "state_00", lambda content: content.update(format=1))
    # The run named a second time is not measured a second time.
    paths = [str(sweep), str(sweep / "two")]
    assert main(["latency", *paths, "--batch-size", "2", "--engine", "torch", *QUICK]) == 1
    written = {path.parent.relative_to(sweep).as_posix() for path in sweep.rglob("latency.json")}
    assert written == {"one/checkpoints/state_01", "two/checkpoints/state_00"}
    output = capsys.readouterr()
    assert f"{sweep / 'unfinished'}: no finished state yet" in output.err
    assert "three/checkpoints/state_00/best.safetensors is damaged" in output.err
    assert "old/checkpoints/state_00/pruned.json was written by another version of this program (format 1; " in output.err
    assert output.out.count("state 0:") == 1
    # Named itself, the run of another version is refused before anything is measured.
    assert main(["latency", str(old), "--batch-size", "2", "--engine", "torch", *QUICK]) == 1
    assert "old/config.yaml was written by another version of this program (format 1; " in capsys.readouterr().err


def test_models_take_turns_after_the_warm_up() -> None:
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in ("dense", "pruned")}
    found = measure(calls, batch_size=8, repeats=4, seconds=0, warmup=2)
    assert order == ["dense", "pruned"] * 2 + ["dense", "pruned", "pruned", "dense"] * 2
    assert found["dense"].passes == 4


def test_short_passes_are_repeated_for_the_seconds_asked_for() -> None:
    found = measure({"dense": lambda: None}, batch_size=1, repeats=1, seconds=0.02, warmup=0)
    assert found["dense"].passes > 100


def test_median_percentile_and_throughput() -> None:
    seconds = [0.001 * number for number in range(1, 12)]
    found = Latency.of(seconds, batch_size=12)
    assert found.median_ms == pytest.approx(6)
    assert found.p90_ms == pytest.approx(10)
    assert found.images_per_second == pytest.approx(2000)


def test_the_number_of_threads_is_restored() -> None:
    before = torch.get_num_threads()
    with timing.torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_both_engines_compute_the_same(tmp_path: Path) -> None:
    saved = save_pruned(tmp_path / "run")
    manifest, images = read_manifest(saved.folder), np.random.default_rng(0).random((2, 3, 8, 12), dtype=np.float32)
    cpu = torch.device("cpu")
    raw = timing.make_engine("torch", cpu, 1).prepare(saved.compact, manifest)
    with torch.inference_mode():
        expected = raw(torch.from_numpy(images)).numpy()
    session = timing.make_engine("onnxruntime", cpu, 1).prepare(saved.compact, manifest)
    np.testing.assert_allclose(session.run(None, {"images": images})[0], expected, atol=1e-4 * np.abs(expected).max())


def test_an_engine_that_is_not_installed(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save_pruned(tmp_path / "run")
    monkeypatch.setattr(timing.importlib.util, "find_spec", lambda name: None)
    assert main(["latency", str(saved.folder), "--batch-size", "1", *QUICK]) == 0
    assert "onnxruntime is left out: onnx and onnxscript and onnxruntime not installed" in capsys.readouterr().err
    assert {line["engine"] for line in json.loads((saved.folder / "latency.json").read_text())["results"]} == {"torch"}
    assert main(["latency", str(saved.folder), "--engine", "onnxruntime", *QUICK]) == 1
    assert "--engine onnxruntime cannot be measured" in capsys.readouterr().err


def test_wrong_options_are_one_sentence(tmp_path: Path, capsys: Any) -> None:
    saved = save_pruned(tmp_path / "run")
    for option, value, sentence in [
        ("--batch-size", "1,0", "'0' is not a whole number of at least 1"),
        ("--engine", "torch,tvm", "'tvm' is not known; choose from torch, onnxruntime"),
        ("--seconds", "-1", "'-1' is not a number of seconds"),
    ]:
        with pytest.raises(SystemExit):
            main(["latency", str(saved.folder), f"{option}={value}"])
        assert sentence in capsys.readouterr().err
    for device, sentence in [("cuda:99", "is not there"), ("tpu", "is not known"), ("meta", "is not known")]:
        assert main(["latency", str(saved.folder), "--device", device]) == 1
        assert f"--device {device} {sentence}" in capsys.readouterr().err
    (tmp_path / "sweep" / "run").mkdir(parents=True)
    RunDirectory(tmp_path / "sweep" / "run").write_config({"name": "sweep"})
    assert main(["latency", str(tmp_path / "sweep")]) == 1
    assert "no run here has finished a state" in capsys.readouterr().err
