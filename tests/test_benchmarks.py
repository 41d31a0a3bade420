"""The benchmark's commands run on miniature settings and write what they promise; no time is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.figure import Figure
from benchmarks.memory_figure import activations
from benchmarks.reference_loop import RSSTPruner, train_cell
from benchmarks.reference_prune import apply_masks, choose, marked_parameters
from benchmarks.scale import MINI
from benchmarks.timing import quartiles, take_turns
from benchmarks.workbench import dense_state, make_job, one_step, training_flops
from prune.architectures.build import build_model
from prune.architectures.fast.residual import InPlaceBlock
from prune.methods.penalty_growth import growth
from tests.conftest import Compose

ROOT = Path(__file__).resolve().parent.parent
QUICK = (
    "matmul_fraction", "compact_step", "penalty_step", "run_cost", "prune_time", "input_rate", "overhead", "memory",
    "resident_rate", "cache_build", "recipe_step", "randaugment_rate", "teacher_step",
    "swin_compact", "swin_dense", "swin_prune", "mamba_compact_step", "mamba_plain_step",
    "plan_growth", "status_growth", "shared_demo", "shared_sweep", "analyse_memory",
)  # fmt: skip

NOISY = ("overhead", "teacher_step")
"""Differences of two times, which at miniature sizes may be of either sign."""


def benchmark(*arguments: str) -> str:
    """Standard output of the command, on one thread so that a busy machine does not slow it down."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cpu_prints_a_table_and_writes_each_figure(tmp_path: Path) -> None:
    output = benchmark("cpu", "--mini", "--json", str(tmp_path / "figures.json"), "--only", *QUICK)
    written = json.loads((tmp_path / "figures.json").read_text())
    assert list(written["figures"]) == list(QUICK)
    assert all(isinstance(value, float) and value > 0 for name, value in written["figures"].items() if name not in NOISY)
    for name in QUICK:
        assert f"│ {name} " in output
        detail = written["details"][name]
        assert detail["low"] <= detail["value"] <= detail["high"]
    assert written["machine"]["torch"] == torch.__version__


def test_demo_compares_the_same_four_cells(tmp_path: Path) -> None:
    benchmark("cpu", "--mini", "--json", str(tmp_path / "figures.json"), "--only", "demo")
    detail = json.loads((tmp_path / "figures.json").read_text())["details"]["demo"]
    accuracies = detail["notes"]["accuracies"]
    assert set(accuracies) == {f"{data} {method}" for data in ("digits", "digit_pairs") for method in ("refill", "rsst")}
    for cell in accuracies.values():
        assert all(0 <= value <= 100 for value in cell.values())


def test_an_unknown_figure_is_named_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "benchmarks", "cpu", "--only", "speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "speed is not a figure" in done.stderr
    assert "matmul_fraction" in done.stderr


def test_growth_draws_a_plot_per_series(tmp_path: Path) -> None:
    output = benchmark("growth", "--mini", "--json", str(tmp_path / "growth.json"), "--plots", str(tmp_path / "plots"))
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"growth-rate.png", "growth-batch.png"}
    assert "step time against rate" in output
    points = json.loads((tmp_path / "growth.json").read_text())["points"]
    dense, pruned = (point for point in points if point["series"] == "rate")
    assert pruned["gflop"] < dense["gflop"]


def test_kernels_and_profile_print_tables(tmp_path: Path) -> None:
    benchmark("kernels", "--mini", "--json", str(tmp_path / "kernels.json"))
    rows = json.loads((tmp_path / "kernels.json").read_text())["rows"]
    assert {row["part"] for row in rows} == {"attention", "GELU", "LayerNorm", "linear"}
    assert "| `aten::mm` |" in benchmark("profile", "--mini")


def test_peers_prune_the_same_models_to_the_same_counts(tmp_path: Path) -> None:
    output = benchmark("peers", "--mini", "--json", str(tmp_path / "peers.json"))
    vit, swin = json.loads((tmp_path / "peers.json").read_text())
    assert "vit_micro" in output and "swin_micro" in output
    for sides in ((vit["ours"], vit["theirs"]), (swin["ours"], swin["theirs"])):
        for side in sides:
            assert 0 < side["accuracy"] <= 100 and side["prune_seconds"] > 0 and side["step_seconds"] > 0
        assert sides[0]["kept"]["neurons"] == sides[1]["kept"]["neurons"]
    for key in ("kept", "parameters", "macs"):  # all blocks of a ViT cost the same
        assert vit["ours"][key] == vit["theirs"][key]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_so() -> None:
    assert benchmark("gpu").startswith("There is no CUDA device here, so nothing was measured.")


def test_the_gpu_benchmark_goes_through_all_its_figures_on_whatever_there_is(tmp_path: Path) -> None:
    output = benchmark("gpu", "--mini", "--json", str(tmp_path / "gpu.json"))
    written = json.loads((tmp_path / "gpu.json").read_text())
    settings = {(row["precision"], row["deterministic"]) for row in written["rows"]}
    assert settings == {(precision, flag) for precision in ("float32", "tf32", "bf16") for flag in (True, False)}
    assert all(row["seconds_per_epoch"] > 0 and row["matmul_fraction"] > 0 for row in written["rows"])
    others = written["others"]
    assert others.pop("host_waits_per_step") == others.pop("recipe_host_waits_per_step") == 0
    assert all(value > 0 for value in others.values())
    if not torch.cuda.is_available():
        assert "no GPU: the CPU, at miniature size" in output
        assert written["machine"]["measured_on_gpu"] is False


def test_the_ways_to_write_a_part_agree() -> None:
    from benchmarks.kernels import parts

    torch.manual_seed(0)
    for inputs, ways in parts(2).values():
        results = [function(*inputs) for function in ways.values()]
        for other in results[1:]:
            torch.testing.assert_close(other, results[0], rtol=1e-4, atol=1e-5)


def test_take_turns_times_each_call_once_a_round_in_alternating_order() -> None:
    seen: list[str] = []
    times = take_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=3, warmup=1)
    assert seen == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)


def test_a_figure_knows_whether_it_is_reached() -> None:
    assert Figure.of("x", [1.0, 2.0, 3.0], limit=2.0, at_most=True).reached
    assert not Figure.of("x", [1.0, 2.0, 3.0], limit=2.1, at_most=False).reached


def test_one_step_trains_through_the_loop(tmp_path: Path) -> None:
    job = make_job(tmp_path, MINI)
    state = dense_state(job)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    one_step(job, state)()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in state.tensors().items())
    assert training_flops(job) == 6 * job.architecture.structure.macs() * MINI.batch_size


def test_the_timed_step_is_the_one_that_training_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tmp_path, MINI)
    state, blocks = dense_state(job), 0
    plain = InPlaceBlock.forward

    def counted(block: InPlaceBlock, *arguments: Any, **options: Any) -> torch.Tensor:
        nonlocal blocks
        blocks += 1
        return plain(block, *arguments, **options)

    monkeypatch.setattr(InPlaceBlock, "forward", counted)
    one_step(job, state)()
    assert blocks == 2  # one for each block of the miniature: the classes that a run trains with
    state.evaluate()
    assert blocks == 2  # and none of them once the step is over
    assert activations(state) > 0
    assert blocks == 4


# ---- the reference loop ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["refill", "rsst"])
def test_the_reference_loop_learns(compose: Compose, method: str) -> None:
    """Digits: ten classes, so 10 % is chance; a few epochs of the demo's model get far beyond it, pruned as well."""
    small = ("schedule.states=2", "schedule.epochs=3", "schedule.epochs_first=6", "schedule.target=0.5")
    states = train_cell(compose("experiment=demo", "dataset=digits", f"method={method}", *small))
    assert [state["rate"] for state in states] == [0.0, 0.5]
    assert states[0]["test_best"] > 80
    assert states[1]["test_best"] > 70


def test_reference_masks_keep_the_budget_and_silence_the_rest(compose: Compose) -> None:
    config = compose("experiment=demo", "dataset=digits")
    model = build_model(config.architecture(), seed=0)
    budget = config.budgets()[-1]
    keep = choose(model, None, budget)
    assert sum(int(block.sum()) for block in keep.heads) == budget.kept["heads"]
    assert sum(int(block.sum()) for block in keep.neurons) == budget.kept["neurons"]
    apply_masks(model, keep)
    block, stays = model.blocks[0], keep.neurons[0]
    assert not block.mlp.fc1.weight[~stays].any()
    assert not block.mlp.fc2.weight[:, ~stays].any()
    assert block.mlp.fc1.weight[stays].all()
    # Units that are gone are never chosen again.
    again = choose(model, keep, budget)
    assert all(
        bool((new <= old).all()) for new, old in zip(again.heads + again.neurons, keep.heads + keep.neurons, strict=True)
    )


def test_the_reference_penalty_is_the_same_as_ours(compose: Compose) -> None:
    config = compose("experiment=demo", "dataset=digits", "method=rsst")
    model = build_model(config.architecture(), seed=0)
    marked = marked_parameters(model, None, choose(model, None, config.budgets()[-1]))
    for parameter, _ in marked:
        parameter.grad = torch.zeros_like(parameter)
    RSSTPruner(marked, ceiling=2.0, exponent=4, ramp_steps=10).before_step(4)
    strength = 2.0 * growth("exp_custom_exponents", 4, 4, 10)
    for parameter, mask in marked:
        torch.testing.assert_close(parameter.grad, strength * mask * parameter.detach())
