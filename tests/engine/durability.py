"""Kill a run at random moments, start it again each time, and compare what it leaves with a run that was never killed.

    python -m tests.engine.durability --kills 20 experiment=demo dataset=digits method=rsst

Further arguments are overrides for launch.py. Prints each kill and what was compared; exit code 1 on any difference.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from prune.base.files import read_jsonl

ROOT = Path(__file__).resolve().parents[2]
TIMINGS = ("seconds", "images_per_second")


def start(outputs: Path, overrides: list[str]) -> subprocess.Popen[str]:
    """launch.py as a user starts it, its output in `outputs`.log."""
    log = outputs.with_suffix(".log").open("a")
    command = [sys.executable, "launch.py", *overrides, f"outputs={outputs}", "hardware.threads=1"]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, text=True)


def run_to_end(outputs: Path, overrides: list[str]) -> Path:
    """Run without disturbance; the run's directory."""
    code = start(outputs, overrides).wait()
    if code != 0:
        raise AssertionError(f"launch.py ended with {code}:\n" + outputs.with_suffix(".log").read_text()[-3000:])
    return run_directory(outputs)


def run_directory(outputs: Path) -> Path:
    """The only run below `outputs`."""
    (config,) = outputs.glob("*/*/config.yaml")
    return config.parent


def kill_and_resume(outputs: Path, overrides: list[str], kills: int, longest: float, seed: int = 0) -> tuple[Path, int]:
    """SIGKILL the run `kills` times, each within `longest` seconds of it being at work, then let it end.

    Returns:
        The run's directory, and how many of the kills hit a run that was not over.
    """
    chooser, landed = random.Random(seed), 0
    for number in range(kills):
        process = start(outputs, overrides)
        wait_until_at_work(process, outputs)
        time.sleep(chooser.uniform(0, longest))
        process.kill()
        ended = process.wait()
        landed += ended == -signal.SIGKILL
        print(f"kill {number + 1}: {'was already done' if ended == 0 else position(outputs)}", flush=True)
    return run_to_end(outputs, overrides), landed


def wait_until_at_work(process: subprocess.Popen[str], outputs: Path) -> None:
    """Return once this process has read the run's checkpoint: from here on every moment may be hit."""
    while process.poll() is None:
        for path in outputs.glob("*/*/status.json"):
            status = json.loads(path.read_text())
            reached = status.get("pid") == process.pid and status.get("epochs_total") is not None
            if reached or status.get("status") == "done":
                return
        time.sleep(0.02)


def position(outputs: Path) -> str:
    lines = read_jsonl(run_directory(outputs) / "metrics.jsonl")
    return f"killed after {len(lines)} epochs" if lines else "killed in the first epoch"


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two run directories, timings aside: metrics, states, and every tensor of every state."""
    found = []
    for name in ("metrics.jsonl", "states.jsonl"):
        left, right = (
            [{key: value for key, value in line.items() if key not in TIMINGS} for line in read_jsonl(run / name)]
            for run in (one, other)
        )
        if left != right or not left:
            found.append(f"{name}: {len(left)} and {len(right)} lines, or other values")
    files = {
        run: sorted(str(path.relative_to(run)) for path in run.glob("checkpoints/**/*.safetensors")) for run in (one, other)
    }
    if files[one] != files[other] or not files[one]:
        found.append(f"other files: {files[one]} and {files[other]}")
        return found
    for name in files[one]:
        left, right = load_file(one / name), load_file(other / name)
        if left.keys() != right.keys() or not all(torch.equal(left[key], right[key]) for key in left):
            found.append(f"{name}: other tensors")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=2.0, help="seconds at work before a kill, at most")
    parser.add_argument("overrides", nargs="*", default=["experiment=demo", "dataset=digits", "method=rsst"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = run_to_end(Path(folder) / "whole", arguments.overrides)
        killed, _ = kill_and_resume(Path(folder) / "killed", arguments.overrides, arguments.kills, arguments.longest)
        found = differences(whole, killed)
        states = len(read_jsonl(whole / "states.jsonl"))
    for line in found:
        print("DIFFERENT:", line)
    print(
        f"{arguments.kills} kills, {states} states: "
        + ("different" if found else "metrics, states and all tensors are identical")
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
