"""Worker processes never outlive, and never hold up, the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prune.base.trouble import worker_was_killed
from tests.data.folders import loader

HALF_AN_EPOCH = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
from tests.conftest import compose_config
from tests.data.folders import SIZE, loader
root, outputs, ending = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
keys = (f"dataset.root={root}", f"dataset.image_size={SIZE}", "model=vit_micro")
config = compose_config(outputs, "dataset=image_folder", *keys)
stream = loader(config, outputs.parent, workers=2)
epoch = stream.training(0, 0, 0)
next(epoch)
next(stream.evaluation("val", 2))
print(*[process.pid for process in multiprocessing.active_children()], flush=True)
if ending == "waits":
    time.sleep(120)
if ending == "interrupted":
    raise KeyboardInterrupt
keep = (stream, epoch, multiprocessing.active_children())
"""


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def all_gone(pids: list[int], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while any(map(exists, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def half_an_epoch(root: Path, tmp_path: Path, ending: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A process that has begun to read from four workers, and their pids."""
    command = [sys.executable, "-c", HALF_AN_EPOCH, str(root), str(tmp_path / "outputs"), ending]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 4
    return process, pids


@pytest.mark.parametrize("ending", ["ends", "interrupted"])
def test_an_epoch_left_in_the_middle_keeps_nothing_from_ending(root: Path, tmp_path: Path, ending: str) -> None:
    """Also while something refers to the loader, to its iterator and to the workers."""
    process, pids = half_an_epoch(root, tmp_path, ending)
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == {"ends": 0, "interrupted": -signal.SIGINT}[ending]
    assert all_gone(pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_it_leaves_no_orphan(root: Path, tmp_path: Path, number: signal.Signals) -> None:
    process, pids = half_an_epoch(root, tmp_path, "waits")
    for pid in pids:
        os.kill(pid, signal.SIGTERM)  # a scheduler's signal goes to all: workers leave it to the main process
    time.sleep(0.3)
    assert all(map(exists, pids))
    process.send_signal(number)
    process.wait()
    assert all_gone(pids)


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_closed_it_has_no_workers(configured: Any, tmp_path: Path) -> None:
    before = workers_of(os.getpid())
    stream = loader(configured(), tmp_path, workers=2)
    epoch = stream.training(0, 0, 0)
    next(epoch)
    pids = [pid for pid in workers_of(os.getpid()) if pid not in before]
    assert len(pids) == 2, "those that measured the data have ended"
    stream.close()
    stream.close()
    assert all_gone(pids)


def test_one_pool_closed_another_goes_on(configured: Any, tmp_path: Path) -> None:
    """Workers of the second were forked while the first was open."""
    first, second = loader(configured(), tmp_path, workers=2), loader(configured(), tmp_path, workers=2)
    before = workers_of(os.getpid())
    next(first.training(0, 0, 0))
    pids = [pid for pid in workers_of(os.getpid()) if pid not in before]
    epoch = second.training(0, 0, 0)
    next(epoch)
    first.close()
    assert all_gone(pids)
    assert len(list(epoch)) == 8
    second.close()


def test_a_worker_that_is_killed_after_it_announced_a_batch_is_told_as_well(configured: Any, tmp_path: Path) -> None:
    """Torch fetches a batch from the worker that made it, and finds nobody there."""

    def gone() -> Iterator[Any]:
        raise ConnectionRefusedError(111, "Connection refused")
        yield

    stream = loader(configured(), tmp_path)
    stream.streams["train"].loader = gone()  # type: ignore[assignment]
    with pytest.raises(RuntimeError) as caught:
        next(stream.training(0, 0, 0))
    assert worker_was_killed(caught.value)


def test_a_killed_worker_is_told_apart_from_a_fault(configured: Any, tmp_path: Path) -> None:
    """By the next batch that is waited for, and nowhere else."""
    stream = loader(configured(), tmp_path, workers=2)
    before = workers_of(os.getpid())
    next(stream.training(0, 0, 0))
    pids = [pid for pid in workers_of(os.getpid()) if pid not in before]
    os.kill(pids[0], signal.SIGKILL)
    assert all_gone(pids[:1])
    time.sleep(0.1)
    with pytest.raises(RuntimeError) as caught:
        list(stream.training(0, 1, 0))
    assert worker_was_killed(caught.value)
    stream.close()
    assert all_gone(pids)
    time.sleep(0.1)
