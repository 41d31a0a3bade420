"""From the command line to an exit code: bad input is one sentence, before anything is made."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prune.base.errors import UserError
from prune.sweep.callback import check_outputs
from tests.conftest import ENDLESS, TINY_RUN
from tests.sweep.sweeps import LAUNCH, launch


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("optim.lr=-1",), "optim.lr=-1"),
        (("schedule.rates=[0,0.5]",), "schedule.rates has 2 entries but schedule.states=3; they must be equal."),
        (("name=a/b",), "name=a/b"),
        (("-m", "seed=0,-1"), "seed=-1"),
        (("-m", "schedule.target=0.5,2"), "schedule.target=2"),
    ],
)
def test_bad_input_is_one_sentence_and_makes_nothing(tmp_path: Path, overrides: tuple[str, ...], sentence: str) -> None:
    flags = [override for override in overrides if override.startswith("-")]
    done = launch(tmp_path, *flags, *TINY_RUN, *(override for override in overrides if override not in flags))
    assert done.returncode == 1
    assert re.fullmatch(r"error: [^\n]*\n", done.stderr), done.stderr
    assert sentence in done.stderr
    assert not list(tmp_path.rglob("*.yaml"))
    assert not (tmp_path / "outputs" / "demo").exists()


def test_an_unwritable_outputs_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    for flags in ((), ("-m",)):
        done = launch(tmp_path, *flags, *TINY_RUN)
        assert done.returncode == 1
        assert re.fullmatch(r"error: outputs: \S+ cannot be written \([^\n]*\)\.\n", done.stderr), done.stderr


def test_a_writable_outputs_folder_stays_as_it_is(tmp_path: Path) -> None:
    check_outputs(str(tmp_path / "a" / "b"), "main")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="outputs"):
        check_outputs("/proc/no/such/place", "main")


def test_plan_starts_nothing(tmp_path: Path) -> None:
    for flags in ((), ("-m",)):
        done = launch(tmp_path, *flags, *TINY_RUN, "plan=true")
        assert done.returncode == 0, done.stderr
        assert "1 run: 1 new" in done.stdout
        assert not (tmp_path / "outputs" / "demo").exists(), "it leaves nothing behind"


def test_the_flag_of_a_sweep_may_stand_anywhere(tmp_path: Path) -> None:
    for before, after in ((TINY_RUN, ()), (TINY_RUN[:3], TINY_RUN[3:])):
        done = launch(tmp_path, *before, "-m", *after, "plan=true", "seed=0,1")
        assert done.returncode == 0, done.stderr
        assert "2 runs: 2 new" in done.stdout


def test_hardware_is_not_swept(tmp_path: Path) -> None:
    done = launch(tmp_path, "-m", *[key for key in TINY_RUN if not key.startswith("hardware")], "hardware=cpu,local")
    assert done.returncode == 1
    assert "hardware cannot be swept over inline and local: choose one for the whole sweep." in done.stderr


def test_how_a_sweep_is_started_is_not_swept_either(tmp_path: Path) -> None:
    done = launch(tmp_path, "-m", *TINY_RUN[:-2], "hardware=local", "hardware.jobs=1,2")
    assert done.returncode == 1
    assert "hardware.jobs cannot be swept over 1 and 2" in done.stderr


def test_one_failing_cell_hides_no_other(tmp_path: Path) -> None:
    done = launch(tmp_path, "-m", *TINY_RUN, "optim.lr=1e30,1e-3")
    assert done.returncode == 1
    assert re.search(r"error: digits-refill-s0-\w+: the training loss became", done.stderr)
    assert re.search(r"    Log: \S+launch\.log", done.stderr)
    assert done.stdout.count("done") == 1


def test_composing_and_planning_import_no_torch(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['launch.py', '-m', *{TINY_RUN!r}, 'method=refill,rsst,dense', 'plan=true']\n"
        "try:\n"
        f"    runpy.run_path({str(LAUNCH)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0, end.code\n"
        "assert 'prune.sweep.entry' in sys.modules\n"
        "heavy = {'torch', 'timm', 'torchvision', 'wandb', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """What makes a start slow is what it imports; how slow, depends on the machine."""
    command = [sys.executable, "-X", "importtime", str(LAUNCH), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "hardware: auto, cpu, local, slurm" in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"torch", "timm", "torchvision", "wandb", "pandas", "matplotlib", "sklearn", "scipy"}


def test_ctrl_c_saves_and_says_so(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(LAUNCH), *TINY_RUN, f"schedule.epochs_first={ENDLESS}"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not list(tmp_path.glob("outputs/demo/*/metrics.jsonl")) and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "saved" in errors
