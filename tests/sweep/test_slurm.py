"""What is handed to sbatch, with a stand-in that accepts everything; the real thing is in tests/slurm."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from prune.base.errors import UserError
from prune.base.files import read_json
from prune.sweep.plan import make_plan
from prune.sweep.slurm import SlurmBackend
from tests.conftest import TINY_RUN, Compose
from tests.sweep.sweeps import launch, write_run

JOB = (*TINY_RUN[:-2], "hardware=slurm")


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """Variables with a PATH on which sbatch notes what it gets, and all jobs wait."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "sbatch": f'cp "$1" {tmp_path}/submitted.sh; echo Submitted batch job 7',
        "squeue": "for i in 0 1 2 3; do echo \"7_$i|PENDING||Resources\"; done; echo '7|PENDING||Resources'",
        "srun": "",
        "scontrol": "exit 1",
    }
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_wait_false_returns_the_ids(tmp_path: Path, cluster: dict[str, str]) -> None:
    done = launch(tmp_path, "-m", *JOB, "seed=0,1", "hardware.wait=false", "hardware.partition=gpu", **cluster)
    assert done.returncode == 0, done.stderr
    assert re.search(r"digits-refill-s0-\w+: job 7_0", done.stdout)
    assert "python -m prune status" in done.stdout
    script = (tmp_path / "submitted.sh").read_text()
    for line in ("--array=0-1%2", "--partition=gpu", "--gpus-per-node=1", "--cpus-per-task=4", "--mem=16GB", "--requeue"):
        assert f"#SBATCH {line}" in script, line
    assert "#SBATCH --signal=USR2@120" in script
    assert "#SBATCH --time=240" in script
    runs = sorted((tmp_path / "outputs" / "demo").glob("digits-*"))
    assert [read_json(run / "status.json")["status"] for run in runs] == ["queued", "queued"]
    assert [read_json(run / "submission.json")["job_id"] for run in runs] == ["7_0", "7_1"]

    # The same command does not submit what is in the queue already.
    (tmp_path / "submitted.sh").unlink()
    again = launch(tmp_path, "-m", *JOB, "seed=0,1", "hardware.wait=false", **cluster)
    assert again.returncode == 0, again.stderr
    assert "2 queued" in again.stdout
    assert not (tmp_path / "submitted.sh").exists()


def test_what_set_up_lines_and_flags_hold_is_for_their_owner_alone(tmp_path: Path, cluster: dict[str, str]) -> None:
    secrets = ("hardware.setup=['export DATA_TOKEN=hush']", "hardware.sbatch=['--comment=hush']")
    from_environment = "hardware.setup=['export OTHER=${oc.env:OTHER_TOKEN}']"
    for typed in (secrets, (from_environment, "seed=1")):
        done = launch(tmp_path, "-m", *JOB, *typed, "hardware.wait=false", OTHER_TOKEN="hush", **cluster)
        assert done.returncode == 0, done.stderr
        assert "hush" not in done.stdout + done.stderr
        assert "=hush" in (tmp_path / "submitted.sh").read_text()
    outputs = tmp_path / "outputs"
    holding = [path for path in outputs.rglob("*") if path.is_file() and b"hush" in path.read_bytes()]
    assert holding, "the submission itself holds them"
    for path in holding:
        launch_folder = next(parent for parent in path.parents if parent.parent.name == ".hydra_runs")
        assert launch_folder.stat().st_mode & 0o077 == 0


def test_one_run_without_m_is_a_job_too(tmp_path: Path, cluster: dict[str, str]) -> None:
    done = launch(tmp_path, *JOB, "hardware.wait=false", **cluster)
    assert done.returncode == 0, done.stderr
    assert "job 7" in done.stdout


def test_sbatchs_refusal_is_one_sentence_and_leaves_nothing(tmp_path: Path, cluster: dict[str, str]) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: x' >&2\nexit 1\n")
    done = launch(tmp_path, "-m", *JOB, "seed=0,1", "hardware.partition=x", **cluster)
    assert done.returncode == 1
    assert "error: hardware: sbatch refused the sweep (sbatch: error: invalid partition specified: x)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "outputs" / "demo").glob("digits-*"))


def test_no_slurm_here_is_one_sentence(tmp_path: Path) -> None:
    done = launch(tmp_path, "-m", *JOB, PATH="/nowhere")
    assert done.returncode == 1
    assert "hardware=slurm: sbatch is not on the PATH" in done.stderr


def test_submitting_imports_no_torch(tmp_path: Path, cluster: dict[str, str]) -> None:
    site = tmp_path / "site"
    site.mkdir()
    check = (
        f"import atexit, sys; atexit.register(lambda: open({str(tmp_path / 'modules')!r}, 'w').write(' '.join(sys.modules)))"
    )
    (site / "sitecustomize.py").write_text(f"import sys\nif 'launch.py' in ' '.join(sys.orig_argv): {check}")
    done = launch(tmp_path, "-m", *JOB, "seed=0,1", "hardware.wait=false", PYTHONPATH=str(site), **cluster)
    assert done.returncode == 0, done.stderr
    modules = (tmp_path / "modules").read_text().split()
    assert "submitit" in modules
    assert not {"torch", "timm", "torchvision", "wandb", "sklearn", "pandas"} & set(modules)


def parameters(compose: Compose, *overrides: str) -> dict[str, object]:
    config = compose("hardware=slurm", *overrides)
    return SlurmBackend(config.hardware, lambda *_, **__: None, Path("/the code")).parameters("main")


def test_the_code_comes_after_the_users_setup(compose: Compose) -> None:
    setup = parameters(compose, "hardware.setup=['module load cuda']")["setup"]
    assert setup == ["module load cuda", "export PYTHONPATH='/the code'\"${PYTHONPATH:+:$PYTHONPATH}\"", "cd '/the code'"]


def test_flags_of_sbatch(compose: Compose) -> None:
    flags = parameters(compose, "hardware.sbatch=['--mail-type=FAIL','--exclusive']")["additional_parameters"]
    assert flags == {"requeue": True, "mail_type": "FAIL", "exclusive": True}
    assert parameters(compose, "hardware.sbatch=['--no-requeue']")["additional_parameters"] == {"no_requeue": True}
    with pytest.raises(UserError, match=r"hardware\.sbatch"):
        compose("hardware=slurm", "hardware.sbatch=[mail-type]")


def test_threads_are_the_cores_asked_for(compose: Compose) -> None:
    config = compose("hardware=slurm", "hardware.cpus=6", "hardware.device=cpu", "dataset=digits", "model=vit_micro")
    backend = SlurmBackend(config.hardware, lambda *_, **__: None, Path("/code"))
    assert backend._with_threads(make_plan([config])[0]).hardware.threads == 6
    directory = write_run(config)
    directory.checkpoints.mkdir()
    directory.last.touch()
    assert backend._with_threads(make_plan([config])[0]).hardware.threads is None, "a run keeps its first number of threads"
