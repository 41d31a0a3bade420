"""Do two versions of this project compute the same numbers? `python -m tests.drift COMMIT` compares with this checkout.

Both run the same cells on this machine; every tensor of every state and every value of every epoch's and state's line must
be the same bits. Exit code 1 and a list of what differs, if anything does. A change that is meant to change a number is
compared all the same, and its list goes into the commit's message (CONTRIBUTING.md).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent.parent

SMALL = ("schedule.states=3", "schedule.epochs=3")

CELLS: dict[str, tuple[str, ...]] = {
    "refill-digits": ("dataset=digits", "method=refill"),
    "rsst-digits": ("dataset=digits", "method=rsst"),
    "refill-pairs": ("dataset=digit_pairs", "method=refill"),
    "rsst-pairs": ("dataset=digit_pairs", "method=rsst"),
    "taylor-joint": ("dataset=digits", "method=refill", "method.criterion=taylor", "method.pools=joint", *SMALL),
    "activation-layer": ("dataset=digits", "method=refill", "method.criterion=activation", "method.scope=layer", *SMALL),
    "remaining-sgd": ("dataset=digits", "method=rsst", "optim=sgd", "optim.lr=0.05", "method.criterion=remaining",
                      "method.penalty.ceiling=auto", "optim.grad_clip=1", *SMALL),
    "random-deep": ("dataset=digits", "method=refill", "method.criterion=random", "method.min_per_block=0",
                    "schedule.target=0.95", *SMALL),
    "epoch-dropout": ("dataset=digits", "method=refill", "method.rewind=epoch:1", "model.proj_drop_rate=0.1",
                      "model.attn_drop_rate=0.1", "model.drop_path_rate=0.1", *SMALL),
}  # fmt: skip
"""What runs: the demo's four cells, and short ones for what else touches a unit."""

TIMES = ("seconds", "images_per_second")
"""Measured, so never equal."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drift", description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="the version to compare with")
    parser.add_argument("--keep", type=Path, help="keep the other version's runs in this folder, and reuse them the next time")
    parser.add_argument("--only", nargs="+", choices=CELLS, default=list(CELLS), help="some of the cells")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        before, after = (arguments.keep or Path(scratch) / "before").absolute(), Path(scratch) / "after"
        if not all((before / cell / "done").exists() for cell in arguments.only):
            tree = Path(scratch) / "tree"
            subprocess.run(["git", "-C", str(HERE), "worktree", "add", "--detach", str(tree), arguments.commit], check=True)
            try:
                run_cells(tree, before, arguments.only)
            finally:
                subprocess.run(["git", "-C", str(HERE), "worktree", "remove", "--force", str(tree)], check=True)
        run_cells(HERE, after, arguments.only)
        differences = [text for cell in arguments.only for text in compare(cell, before / cell, after / cell)]
    print("\n".join(differences) or f"{len(arguments.only)} runs, every tensor and value the same")
    return 1 if differences else 0


def run_cells(tree: Path, outputs: Path, cells: list[str]) -> None:
    """Run the cells with the version in `tree`."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    for cell in cells:
        if (outputs / cell / "done").exists():
            continue
        print(f"{tree.name}: {cell}", file=sys.stderr)
        command = [sys.executable, "launch.py", "experiment=demo", f"outputs={outputs}", f"name={cell}", *CELLS[cell]]
        subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (outputs / cell / "done").touch()


def compare(cell: str, before: Path, after: Path) -> Iterator[str]:
    """What differs between two runs of one cell."""
    old, new = (next(folder.glob("*-s0-*")) for folder in (before, after))
    for name in ("metrics.jsonl", "states.jsonl"):
        lines, others = read(old / name), read(new / name)
        if len(lines) != len(others):
            yield f"{cell}: {name} has {len(lines)} and {len(others)} lines"
        for number, (line, other) in enumerate(zip(lines, others, strict=False)):
            for key in sorted(line.keys() & other.keys()):
                if line[key] != other[key]:
                    yield f"{cell}: {name} line {number}: {key} {line[key]} and {other[key]}"
            lost = line.keys() - other.keys()
            if lost:
                yield f"{cell}: {name} line {number} lacks {', '.join(sorted(lost))}"
    for file in sorted(old.glob("checkpoints/state_*/*.safetensors")):
        tensors, others = load_file(file), load_file(new / file.relative_to(old))
        if tensors.keys() != others.keys():
            yield f"{cell}: {file.parent.name}/{file.name} has other tensors"
        unequal = [name for name in tensors.keys() & others.keys() if not same(tensors[name], others[name])]
        if unequal:
            yield f"{cell}: {file.parent.name}/{file.name}: {len(unequal)} tensors differ, such as {min(unequal)}"


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a jsonl file, flat, without times. 0.1 wrote `heads_kept` where `kept.heads` stands now."""
    lines = []
    for text in path.read_text().splitlines():
        flat: dict[str, Any] = {}
        for key, value in json.loads(text).items():
            kind = key.removesuffix("_kept")
            flat |= {f"{key}.{part}": v for part, v in value.items()} if isinstance(value, dict) else {
                f"kept.{kind}" if kind != key else key: value}  # fmt: skip
        lines.append({key: value for key, value in flat.items() if key not in TIMES})
    return lines


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and first.dtype == second.dtype and torch.equal(first, second)


if __name__ == "__main__":
    sys.exit(main())
