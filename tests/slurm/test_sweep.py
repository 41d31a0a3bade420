"""Sweeps that go well: the matrix as one array, the code as it was at submission, no network, with and without waiting."""

from __future__ import annotations

import functools
import json
import os
import pickle
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from prune.sweep.slurm_queue import how_it_ended
from tests.conftest import ENDLESS
from tests.slurm.cluster import missing
from tests.slurm.conftest import REPOSITORY, Sweep, running_cluster, sitecustomize, until

NO_NETWORK = """
import os, socket
if "SLURM_PROCID" in os.environ:
    def refuse(self, address):
        raise OSError(101, "the test's nodes have no network")
    socket.socket.connect = refuse
"""


def test_the_matrix_is_one_array_on_both_nodes(sweep: Sweep, tmp_path: Path) -> None:
    sweep.variables = sitecustomize(tmp_path / "site", NO_NETWORK)
    pairs = "dataset.pairs_train=5"
    process = sweep.launch("dataset=digits,digit_pairs", "method=refill,rsst", f"++{pairs}", "plan=true")
    code, _, errors = sweep.finish(process)
    assert code == 1, "pairs_train is no key of digits"
    assert "dataset.pairs_train is not a key" in errors
    assert not (tmp_path / "outputs" / "demo").exists()

    process = sweep.launch("dataset=digits,digit_pairs", "method=refill,rsst", "share_dense=false")
    code, output, errors = sweep.finish(process)
    assert code == 0, errors
    runs = sweep.runs()
    assert len(runs) == 4
    assert {sweep.status(run)["status"] for run in runs} == {"done"}
    assert {sweep.job(run).split("_")[1] for run in runs} == {"0", "1", "2", "3"}
    assert len({sweep.job(run).split("_")[0] for run in runs}) == 1
    assert {sweep.status(run)["node"] for run in runs} == {"node1", "node2"}
    job = sweep.cluster.run("scontrol", "--oneliner", "show", "job", sweep.job(runs[0]))
    assert "TresPerNode=gres:gpu:1" in job
    assert "4 new" in output

    process = sweep.launch("dataset=digits,digit_pairs", "method=refill,rsst", "share_dense=false")
    code, output, errors = sweep.finish(process, 20)
    assert code == 0, errors
    assert "4 done" in output
    assert sweep.job(runs[0]) == json.loads((runs[0] / "submission.json").read_text())["job_id"], "nothing was submitted"


def test_jobs_run_the_code_of_their_submission(sweep: Sweep, tmp_path: Path) -> None:
    """Edits while they wait are not seen; the same command, given again, waits for the jobs that are there."""
    checkout = tmp_path / "checkout"
    for name in ("prune", "conf", "hydra_plugins"):
        shutil.copytree(REPOSITORY / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(REPOSITORY / "launch.py", checkout / "launch.py")
    sweep.script = checkout / "launch.py"
    sweep.directory = checkout
    where = tmp_path / "where"
    code = "import atexit, os, sys\nif 'SLURM_PROCID' in os.environ:\n    atexit.register(lambda: 'prune' in sys.modules and "
    sweep.variables = sitecustomize(tmp_path / "site", f"{code}open({str(where)!r}, 'w').write(sys.modules['prune'].__file__))")
    sweep.variables["PYTHONPATH"] += f"{os.pathsep}{checkout}"
    process = sweep.launch("hardware.wait=false", "hardware.sbatch=['--hold']")
    exit_code, output, errors = sweep.finish(process, 30)
    assert exit_code == 0, errors
    (run,) = sweep.runs()
    job = sweep.job(run)
    assert f"{run.name}: job {job}" in output
    assert sweep.status(run)["status"] == "queued"

    # A module that only jobs import, so that launch.py itself still starts.
    edited = checkout / "prune" / "engine" / "run.py"
    assert edited.exists()
    edited.write_text("raise RuntimeError('edited while the job waited')\n")
    process = sweep.launch()
    until(lambda: "queued" in (process.stderr.readline() if process.stderr else ""), "the second launch to watch")
    sweep.cluster.run("scontrol", "release", job)
    exit_code, output, errors = sweep.finish(process, 60)
    assert exit_code == 0, errors
    assert "1 queued" in output
    assert sweep.job(run) == job
    assert Path(where.read_text()).is_relative_to(checkout / "outputs" / "demo" / ".code")


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address of a web server for it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def fake_cifar(folder: Path, address: str) -> str:
    """CIFAR-10's files with a hundred random images, and the code that makes torchvision take them for the real archive."""
    inside = folder / "cifar-10-batches-py"
    inside.mkdir()
    random = np.random.default_rng(0)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    for name in names:
        content = {"data": random.integers(0, 255, (20, 3072), dtype=np.uint8), "labels": [*range(10)] * 2}
        (inside / name).write_bytes(pickle.dumps(content))
    (inside / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(number) for number in range(10)]}))
    shutil.make_archive(str(folder / "cifar-10-python"), "gztar", folder, "cifar-10-batches-py")
    return f"""
import sys
if "-m" in sys.orig_argv:
    from torchvision.datasets import CIFAR10
    CIFAR10.url = "{address}/cifar-10-python.tar.gz"
    CIFAR10.tgz_md5 = None
    CIFAR10.train_list = [[name, None] for name, _ in CIFAR10.train_list]
    CIFAR10.test_list = [[name, None] for name, _ in CIFAR10.test_list]
    CIFAR10.meta = {{**CIFAR10.meta, "md5": None}}
"""


def test_data_is_fetched_before_submission_and_never_by_jobs(sweep: Sweep, tmp_path: Path, mirror: tuple[Path, str]) -> None:
    sweep.variables = sitecustomize(tmp_path / "site", fake_cifar(*mirror) + NO_NETWORK)
    tiny = ("dataset=cifar10", "model.patch_size=16", "optim.batch_size=30", "model.depth=1", "schedule.states=2")
    code, _, errors = sweep.finish(sweep.launch(*tiny, "schedule.epochs=1", "schedule.epochs_first=1"), 60)
    assert code == 0, errors
    assert (tmp_path / "data" / "cifar-10-batches-py").is_dir()

    # Files that vanish after submission are an error of the job, not a download by it.
    process = sweep.launch(*tiny, "schedule.epochs=1", "schedule.epochs_first=2", "hardware.sbatch=['--hold']")
    until(lambda: len(sweep.runs()) == 2, "the submission")
    run = sweep.run_where("epochs_first", 2)
    job = until(lambda: (run / "submission.json").exists() and sweep.job(run), "the job")
    shutil.rmtree(tmp_path / "data")
    sweep.cluster.run("scontrol", "release", job)
    code, _, errors = sweep.finish(process, 60)
    assert code == 1
    assert "a submitted job does not download" in errors


@pytest.mark.skipif(bool(missing(accounting=True)), reason=f"no accounting here ({', '.join(missing(accounting=True))})")
def test_with_accounting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM's accounting is not needed; where it runs, it tells of jobs that the controller has forgotten."""
    with running_cluster(accounting=True) as cluster:
        sweep = Sweep(cluster, tmp_path)
        process = sweep.launch(f"schedule.epochs_first={ENDLESS},2")
        until(lambda: len(sweep.runs()) == 2, "the submission")
        long = sweep.run_where("epochs_first", ENDLESS)
        until(lambda: sweep.epochs(long), "an epoch")
        cluster.run("scancel", sweep.job(long))
        code, _, errors = sweep.finish(process)
        assert code == 1
        assert f"{long.name}: was cancelled" in errors
        assert sweep.status(sweep.run_where("epochs_first", 2))["status"] == "done"
        job = sweep.job(long)
        until(lambda: "CANCELLED" in cluster.run("sacct", "-n", "-X", "-o", "State", "-j", job), "sacct")
        # Without scontrol's memory of the job, accounting has to tell.
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bin" / "scontrol").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
        assert how_it_ended(job).state == "CANCELLED"
        sweep.close()
