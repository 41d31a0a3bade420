"""What this machine has, with stand-ins for the driver's tool."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune.base.machine import _cgroup_limits, memory_bytes, visible_gpus


def test_gpus_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: A'\necho 'GPU 1: B'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert visible_gpus() == ["0", "1"]


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_limits_of_all_groups_around_this_process_count(tmp_path: Path) -> None:
    """As SLURM sets them: the job's group has the limit, the step's and the task's within it have none of their own."""
    _file(tmp_path / "proc/self/cgroup", "0::/slurm/job_7/step_0/task_0\n")
    groups = tmp_path / "sys/fs/cgroup"
    for place, limit in (("slurm/job_7/step_0/task_0", "max"), ("slurm/job_7/step_0", "max"), ("slurm/job_7", "16000000000")):
        _file(groups / place / "memory.max", f"{limit}\n")
    _file(groups / "slurm/job_8/memory.max", "5")
    assert _cgroup_limits(tmp_path) == [16_000_000_000]
    _file(groups / "slurm/memory.max", "9000000000")
    assert sorted(_cgroup_limits(tmp_path)) == [9_000_000_000, 16_000_000_000]


def test_version_1_has_a_tree_for_memory(tmp_path: Path) -> None:
    _file(tmp_path / "proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/b\n1:name=systemd:/c\n")
    _file(
        tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", "7000000000\n"
    )  # within the container its own group is the top
    _file(tmp_path / "sys/fs/cgroup/cpu/a/memory.limit_in_bytes", "5")
    assert _cgroup_limits(tmp_path) == [7_000_000_000]


def test_a_machine_without_groups_has_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _cgroup_limits(tmp_path) == []
    whole = memory_bytes()
    monkeypatch.setattr("prune.base.machine._cgroup_limits", lambda _: [whole - 1])
    assert memory_bytes() == whole - 1
