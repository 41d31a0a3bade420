"""`checkpoint.keep` bounds the disk: it removes models that the run wrote, and nothing else."""

from __future__ import annotations

import pytest

from prune.base.files import read_json, sha256
from prune.rundir.checkpoint import outdated, remove
from prune.rundir.directory import RunDirectory
from tests.engine.runs import RunTiny, finished

NEWEST = {"state_02/best.safetensors", "state_02/final.safetensors"}
STAYS = {
    "all": {f"state_{index:02d}/{name}.safetensors" for index in range(3) for name in ("best", "final")},
    "last": NEWEST,
    "best": {"state_00/best.safetensors", "state_01/best.safetensors", *NEWEST},
}


def models(directory: RunDirectory) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in directory.checkpoints.glob("state_*/*.safetensors")}


@pytest.mark.parametrize("keep", STAYS)
def test_models_go_and_manifests_stay(run_tiny: RunTiny, keep: str) -> None:
    directory = finished(run_tiny("method=refill", f"checkpoint.keep={keep}"))
    assert models(directory) == STAYS[keep]
    units = []
    for index in range(3):
        about = read_json(directory.manifest(index))
        assert about["state"] == index
        for name in ("best", "final"):
            file = directory.state(index) / f"{name}.safetensors"
            assert not file.exists() or sha256(file) == about["sha256"][name]
        units.append(sum(len(group["kept"]) for group in about["groups"].values()))
    assert units[0] > units[1] > units[2]


@pytest.mark.parametrize("keep", ["last", "best"])
def test_other_files_beside_the_models_stay(run_tiny: RunTiny, keep: str) -> None:
    directory = finished(run_tiny("method=refill"))
    others = [directory.state(index) / name for index in range(3) for name in ("best.onnx", "teacher.safetensors", "notes.txt")]
    for path in others:
        path.write_bytes(b"a user's")
    remove(outdated(directory, 2, keep))
    assert all(path.read_bytes() == b"a user's" for path in others)
    assert models(directory) == STAYS[keep] | {f"state_{index:02d}/teacher.safetensors" for index in range(3)}
