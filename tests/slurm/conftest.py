"""A real SLURM for the tests of this folder, and sweeps started on it from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.cluster import Cluster, missing

REPOSITORY = Path(__file__).resolve().parents[2]

JOB = ("hardware=slurm", "hardware.device=cpu", "hardware.cpus=1", "hardware.memory_gb=1")
"""A job that asks for one GPU and computes on the CPU."""

SMALL = (
    "experiment=demo", "dataset=digits", "model.depth=2", "model.embed_dim=16", "model.num_heads=4",
    "schedule.states=3", "schedule.epochs=2", "schedule.epochs_first=2", "optim.batch_size=64", "hardware.threads=1",
)  # fmt: skip
"""A run of seconds."""

Condition = Callable[[], Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip without SLURM. The run that takes minutes begins first and is looked at last, so that it costs no time."""
    lacking = missing()
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    order = {"test_the_long_run_begins": -1, "test_requeued_runs_equal_uninterrupted_ones": 1}
    items[:] = sorted(ours, key=lambda item: order.get(item.name, 0)) + [item for item in items if item not in ours]
    for item in ours:
        item.add_marker(pytest.mark.slurm)
        if lacking:
            item.add_marker(pytest.mark.skip(reason=f"SLURM is not installed (no {', '.join(lacking)})"))


def until(condition: Condition, what: str, seconds: float = 90) -> Any:
    """Wait until `condition` gives something true, and give that."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)
    return value


class Sweep:
    """One sweep of a test: `launch.py …` in an empty directory, its runs, and its cluster."""

    def __init__(self, cluster: Cluster, directory: Path):
        self.cluster, self.directory, self.variables = cluster, directory, dict[str, str]()
        self.script = REPOSITORY / "launch.py"
        self._processes: list[subprocess.Popen[str]] = []

    def launch(self, *overrides: str) -> subprocess.Popen[str]:
        """Start launch.py and go on."""
        environment = {**os.environ, **self.cluster.environment, **self.variables}
        process = subprocess.Popen(
            [sys.executable, str(self.script), "-m", *JOB, *SMALL, *overrides],
            cwd=self.directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], seconds: float = 150) -> tuple[int, str, str]:
        """Wait for launch.py: exit code, stdout, stderr."""
        output, errors = process.communicate(timeout=seconds)
        return process.returncode, output, errors

    def close(self) -> None:
        """End the sweep's processes and jobs, whatever state they are in."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()
        notes = list(self.directory.glob("outputs/*/*/submission.json"))
        arrays = {json.loads(note.read_text())["job_id"].partition("_")[0] for note in notes}
        for array in arrays:
            self.cluster.run("scancel", "--quiet", array)
        until(lambda: not arrays & set(self.cluster.run("squeue", "-h", "-o", "%A").split()), "the end of all jobs", 60)

    def runs(self, name: str = "demo") -> list[Path]:
        """The runs' directories, in order of their names."""
        return sorted(path.parent for path in (self.directory / "outputs" / name).glob("*/config.yaml"))

    def run_where(self, key: str, value: Any) -> Path:
        """The run whose schedule has this value."""
        import yaml

        return next(run for run in self.runs() if yaml.safe_load((run / "config.yaml").read_text())["schedule"][key] == value)

    def status(self, run: Path) -> dict[str, Any]:
        return json.loads((run / "status.json").read_text())

    def job(self, run: Path) -> str:
        return json.loads((run / "submission.json").read_text())["job_id"]

    def epochs(self, run: Path) -> int:
        """Epochs that the run has finished."""
        file = run / "metrics.jsonl"
        return len(file.read_text().splitlines()) if file.exists() else 0


@contextmanager
def running_cluster(accounting: bool = False) -> Iterator[Cluster]:
    """A cluster that is stopped at the end, however it comes: also when the test run itself is told to stop."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    # A socket's path may be 107 characters long; pytest's own folders are longer.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        started = Cluster(Path(folder), accounting)
        try:
            started.up()
            yield started
        finally:
            started.down()
            signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as started:
        yield started


@pytest.fixture
def sweep(cluster: Cluster, tmp_path: Path) -> Iterator[Sweep]:
    made = Sweep(cluster, tmp_path)
    yield made
    made.close()


def sitecustomize(folder: Path, code: str) -> dict[str, str]:
    """Variables that make every Python process of a sweep run `code` first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder)}
