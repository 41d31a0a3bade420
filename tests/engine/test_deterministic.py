"""Deterministic kernels are asked for; gradients have nothing else while they can; what has none is told once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from prune.base.files import read_json
from prune.engine import loss
from prune.engine.deterministic import Strictly, set_deterministic, telling
from prune.rundir.checkpoint import read_tensors
from tests.engine.runs import RunTiny, finished


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def mode() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def put() -> Tensor:
    """An operation without a deterministic kernel, on every device."""
    return torch.zeros(3).put_(torch.tensor([1]), torch.tensor([5.0]))


def test_kernels_are_preferred_and_fresh_memory_is_left_alone() -> None:
    set_deterministic(True)
    assert mode() == (True, True)
    assert torch.utils.deterministic.fill_uninitialized_memory is False  # type: ignore[attr-defined]
    set_deterministic(False)
    assert mode() == (False, False)


def test_gradients_are_computed_by_deterministic_kernels_alone() -> None:
    """Not by torch's lenient mode, in which fused attention does not take the deterministic kernel that it has."""
    set_deterministic(True)
    assert Strictly(True).compute(mode) == (True, False)
    assert mode() == (True, True)
    set_deterministic(False)
    assert Strictly(False).compute(mode) == (False, False)
    assert mode() == (False, False)


def test_what_has_no_kernel_is_undone_and_computed_as_it_can_be_from_then_on() -> None:
    set_deterministic(True)
    strictly, undone, told = Strictly(True), [], list[str]()
    with telling(told.append):
        for _ in range(3):
            assert strictly.compute(put, undo=lambda: undone.append(1)).tolist() == [0, 5, 0]
            assert mode() == (True, True)
    assert undone == [1]
    assert len(told) == 1
    assert told[0].startswith("hardware.deterministic=true, but put_ has no deterministic kernel here: ")


def test_other_errors_and_warnings_pass() -> None:
    set_deterministic(True)
    with pytest.raises(RuntimeError, match="size"):
        Strictly(True).compute(lambda: torch.zeros(2) + torch.zeros(3))
    assert mode() == (True, True)
    told: list[str] = []
    with pytest.warns(UserWarning, match="something else"), telling(told.append):
        warnings.warn("something else", stacklevel=1)
    assert told == []


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("Memory Efficient attention defaults to a non-deterministic algorithm. To", "Memory Efficient attention has no"),
        ("Deterministic behavior was enabled with either X or Y, but this operation is not deterministic because it uses "
         "CuBLAS and you have CUDA", "cuBLAS, with this CUBLAS_WORKSPACE_CONFIG, has no"),
    ],
)  # fmt: skip
def test_what_torch_says_of_attention_and_cublas_is_told_as_well(said: str, named: str) -> None:
    told: list[str] = []
    with telling(told.append):
        assert torch.is_warn_always_enabled()  # of attention torch says it once a process
        warnings.warn(said, stacklevel=1)
        warnings.warn(said, stacklevel=1)
    assert not torch.is_warn_always_enabled()
    assert len(told) == 1
    assert named in told[0]


def test_a_run_says_which_operation_has_none_and_computes_the_same(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = finished(run_tiny("method=dense", "name=usual"))
    assert not read_json(usual.status).get("flags")
    assert read_json(usual.status)["starts"][0]["deterministic"] is True
    real = loss.logits_and_loss

    def with_put(*arguments: object) -> tuple[Tensor, Tensor]:
        logits, mean = real(*arguments)  # type: ignore[arg-type]
        return logits, mean + put()[0]

    monkeypatch.setattr(loss, "logits_and_loss", with_put)
    other = finished(run_tiny("method=dense", "name=other"))
    [flag] = read_json(other.status)["flags"]
    assert "but put_ has no deterministic kernel here" in flag
    assert other.log.read_text().count("put_ has no deterministic kernel") == 1
    for model in ("final", "best"):
        tensors, same = (read_tensors(run.state(1) / f"{model}.safetensors") for run in (usual, other))
        assert all(torch.equal(tensors[name], same[name]) for name in tensors)
    quiet = finished(run_tiny("method=dense", "name=quiet", "hardware.deterministic=false"))
    assert not read_json(quiet.status).get("flags")
