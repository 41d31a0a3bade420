"""Small run directories, as a training job leaves them, for the W&B tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from prune.base.files import append_jsonl, write_json
from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory
from prune.rundir.reader import read_run
from prune.rundir.status import now
from prune.tracking_wandb.offline_log import log_files, records
from prune.tracking_wandb.points import identity

STATES, EPOCHS = 3, 2
ALL_STEPS = list(range(1, STATES * EPOCHS + 1))
KEY = "S3cretFakeKey" * 4


def make_config(**changes: Any) -> RunConfig:
    """A cell on `digits`; `changes` are dotted keys with `__` for the dot."""
    sections: dict[str, Any] = {
        "name": "demo",
        "dataset": {"name": "digits", "image_size": 8, "channels": 1, "classes": 10},
        "model": {
            "family": "vit", "name": "custom", "patch_size": 2, "depth": 2, "embed_dim": 24, "num_heads": 3, "mlp_ratio": 2,
        },
        "method": {"name": "refill"},
        "schedule": {"states": STATES, "epochs": EPOCHS, "target": 0.7},
        "optim": {"name": "sgd", "lr": 0.01, "weight_decay": 0.0, "batch_size": 32},
        "logger": {"name": "wandb", "project": "vit"},
    }  # fmt: skip
    for key, value in changes.items():
        *path, last = key.split("__")
        section = sections
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return RunConfig.model_validate(sections)


def make_directory(outputs: Path, config: RunConfig) -> RunDirectory:
    """The run's directory with config.yaml, as at the start of the job."""
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    name = f"{config.dataset.name}-{config.method.name}-s{config.seed}-{digest}"
    directory = RunDirectory(outputs / config.name / name)
    directory.path.mkdir(parents=True, exist_ok=True)
    directory.write_config(config.model_dump(mode="json"))
    set_status(directory, "running")
    return directory


def set_status(directory: RunDirectory, status: str) -> None:
    write_json(directory.status, {"status": status, "heartbeat": now()})


def epoch_line(state: int, epoch: int) -> dict[str, Any]:
    return {
        "state": state, "epoch": epoch, "lr": 0.01, "penalty": None if state == 0 else 0.5,
        "train_loss": 2.0 / (1 + state + epoch), "val_accuracy": 50.0 + 10 * state + epoch, "seconds": 1.5,
    }  # fmt: skip


def groups(state: int) -> dict[str, dict[str, Any]]:
    """The units kept, as pruned.json holds them: of two blocks with three heads and 48 neurons."""
    return {
        name: about
        for block in range(2)
        for name, about in (
            (f"blocks.{block}.attn", {"kind": "heads", "block": block, "units": 3, "kept": list(range(3 - state))}),
            (f"blocks.{block}.mlp", {"kind": "neurons", "block": block, "units": 48, "kept": [0, 1, 2, 5]}),
        )
    }


def state_line(state: int) -> dict[str, Any]:
    return {
        "state": state, "rate": 0.35 * state,
        "kept": {"heads": 2 * (3 - state), "neurons": 8},
        "groups": {name: len(about["kept"]) for name, about in groups(state).items()},
        "parameters": 10_000 - 1000 * state, "macs": 50_000 - 5000 * state,
        "val_accuracy_pruned": None if state == 0 else 40.0 + state, "val_accuracy_final": 60.0 + state,
        "val_accuracy_best": 62.0 + state, "test_accuracy_best": 61.0 + state, "seconds": 1.5 + state,
    }  # fmt: skip


def write_epoch(directory: RunDirectory, state: int, epoch: int) -> dict[str, Any]:
    append_jsonl(directory.metrics, line := epoch_line(state, epoch))
    return line


def write_state(directory: RunDirectory, state: int) -> dict[str, Any]:
    folder = directory.state(state)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "pruned.json", {"format": 2, "groups": groups(state)})
    (folder / "final.safetensors").write_bytes(b"final" * (state + 1))
    (folder / "best.safetensors").write_bytes(b"best" * (state + 1))
    append_jsonl(directory.states, line := state_line(state))
    return line


def write_run(directory: RunDirectory, states: int = STATES, status: str = "done") -> None:
    """All files of the first `states` states."""
    for state in range(states):
        for epoch in range(EPOCHS):
            write_epoch(directory, state, epoch)
        write_state(directory, state)
    set_status(directory, status)


def train(tracker: Any, directory: RunDirectory, states: range) -> None:
    """What the run loop does with a tracker: write a line, tell the tracker."""
    for state in states:
        for epoch in range(EPOCHS):
            tracker.epoch(write_epoch(directory, state, epoch))
        tracker.state(write_state(directory, state), directory.state(state))


def run_id(directory: RunDirectory) -> str:
    return identity(read_run(directory.path).config, directory).id


def offline_history(directory: RunDirectory) -> list[dict[str, Any]]:
    """All history rows in all `.wandb` files of a run."""
    return [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for path in log_files(directory.wandb)
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]


def offline_steps(directory: RunDirectory) -> list[int]:
    return [row["_step"] for row in offline_history(directory)]


def offline_records(directory: RunDirectory, kind: str) -> list[Any]:
    return [
        getattr(record, kind)
        for path in log_files(directory.wandb)
        for record in records(path)
        if record.WhichOneof("record_type") == kind
    ]
