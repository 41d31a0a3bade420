"""A package of somebody else's, as docs/ writes it, installed by pip: its methods, criteria and models work."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
import torch
import torch_pruning as tp
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from prune.base.files import read_json, read_jsonl
from tests.conftest import TINY_RUN
from tests.test_docs import blocks

PAGES = ("adding-a-method.md", "adding-a-criterion.md")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that has what is installed here, and the package of the pages."""
    place = tmp_path_factory.mktemp("plugin")
    project = place / "project"
    for page in PAGES:
        for path, text, _ in blocks(page):
            if path.startswith(("pyproject.toml", "my_pruning/")):
                (project / path).parent.mkdir(parents=True, exist_ok=True)
                (project / path).write_text(text)
    add_family(project)
    for package in ("my_pruning", "my_pruning/conf"):
        (project / package / "__init__.py").touch()
    (project / "conf/method").mkdir(parents=True)  # a folder beside the package must not keep it from being built
    venv.create(place / "environment", with_pip=False)
    found = place / "environment/bin/python"
    (site,) = (place / "environment/lib").glob("python3*/site-packages")
    # Not a copy of some gigabytes: what is installed here is installed there.
    (site / "here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    install = [found, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", project]
    subprocess.run(install, check=True)
    return found


def add_family(project: Path) -> None:
    """Put the class and the configuration of the page on architectures into the package, as its last section says."""
    for path, text, table in blocks("adding-an-architecture.md"):
        if path == "pyproject.toml":
            there = (project / path).read_text()
            new = [part for part in text.strip().split("\n\n") if part not in there]  # TOML takes a table once
            (project / path).write_text("\n\n".join([there, *new, ""]))
        elif table is None and path.startswith(("prune/", "conf/")):
            inside = path.replace("prune/architectures/", "my_pruning/").replace("conf/", "my_pruning/conf/")
            (project / inside).parent.mkdir(parents=True, exist_ok=True)
            (project / inside).write_text(text)


def launch(python: Path, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": ""}
    other_model = any(override.startswith("model=") for override in overrides)
    tiny = [override for override in TINY_RUN if not (other_model and override.startswith("model."))]
    command = [python, "-m", "prune", "launch", *overrides, *tiny, f"outputs={folder}", "name=plugin"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def only_run(folder: Path) -> Path:
    (run,) = folder.glob("plugin/*/config.yaml")
    return run.parent


def test_movement_pruning_ranks_by_what_state_0_gathered(python: Path, tmp_path: Path) -> None:
    result = launch(python, tmp_path, "method=movement")
    assert result.returncode == 0, result.stderr
    run = only_run(tmp_path)
    lines = read_jsonl(run / "states.jsonl")
    assert [line["kept"]["neurons"] for line in lines] == [64, 35, 19]
    assert lines[1]["movement_of_kept"] != 0
    assert "criterion" not in (run / "config.yaml").read_text()
    start = (read_json(run / "status.json") or {})["starts"][-1]
    assert start["plugins"] == {"method.name": "my-pruning 0.1"}
    report = subprocess.run([python, "-m", "prune", "report", tmp_path / "plugin"], capture_output=True, text=True, check=False)
    assert report.returncode == 0, report.stderr
    assert "movement_of_kept" in (tmp_path / "plugin/report/tables/states.csv").read_text().splitlines()[0]


def test_a_family_of_the_package_s_own_is_pruned_and_reported(python: Path, tmp_path: Path) -> None:
    result = launch(python, tmp_path, "model=convnext_micro", "method=refill")
    assert result.returncode == 0, result.stderr
    run = only_run(tmp_path)
    assert read_jsonl(run / "states.jsonl")[-1]["kept"] == {"neurons": 182}  # 30 % of 608
    start = (read_json(run / "status.json") or {})["starts"][-1]
    assert start["plugins"] == {"model.family": "my-pruning 0.1"}
    report = subprocess.run([python, "-m", "prune", "report", tmp_path / "plugin"], capture_output=True, text=True, check=False)
    assert report.returncode == 0, report.stderr
    headings = (tmp_path / "plugin/report/tables/states.csv").read_text().splitlines()[0]
    assert "neurons" in headings and "heads" not in headings


def test_torch_prunings_importances_rank(python: Path, tmp_path: Path) -> None:
    result = launch(python, tmp_path, "method=refill", "method.criterion=graph_lamp")
    assert result.returncode == 0, result.stderr
    assert read_jsonl(only_run(tmp_path) / "states.jsonl")[-1]["kept"] == {"heads": 2, "neurons": 19}


def test_scores_are_naive_numbers(python: Path, tmp_path: Path) -> None:
    """Group magnitude of a head: the norm over everything that its channels are tied to, the mean of them squared."""
    script = tmp_path / "scores.py"
    script.write_text(SCORES)
    result = subprocess.run([python, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    model = small_vit()
    images, labels = batch()
    F.cross_entropy(model(images), labels).backward()
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=images[:1])
    block = model.blocks[1]
    for name in ("GroupMagnitude", "GroupTaylor", "LAMP"):
        importance = getattr(tp.importance, f"{name}Importance")
        heads = graph.get_pruning_group(block.attn.proj, tp.prune_linear_in_channels, list(range(12)))
        neurons = graph.get_pruning_group(block.mlp.fc1, tp.prune_linear_out_channels, list(range(24)))
        expected = {
            "blocks.1.attn": importance()(heads).view(3, -1).mean(1),
            "blocks.1.mlp": importance()(neurons),
        }
        for group, values in expected.items():
            torch.testing.assert_close(torch.tensor(found[name][group]), values.float(), rtol=1e-5, atol=1e-7)


def small_vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=8, patch_size=4, in_chans=1, num_classes=5, embed_dim=12, depth=2, num_heads=3, mlp_ratio=2
    ).eval()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(6, 1, 8, 8, generator=draw), torch.randint(5, (6,), generator=draw)


SCORES = """
import json

import torch
from my_pruning import importance
from timm.models.vision_transformer import VisionTransformer

from prune.architectures.base import make_architecture
from prune.pruning.criteria.base import Scoring

torch.manual_seed(0)
sizes = {"embed_dim": 12, "depth": 2, "num_heads": 3, "mlp_ratio": 2}
model = VisionTransformer(img_size=8, patch_size=4, in_chans=1, num_classes=5, **sizes).eval()
draw = torch.Generator().manual_seed(1)
batch = torch.randn(6, 1, 8, 8, generator=draw), torch.randint(5, (6,), generator=draw)
structure = make_architecture({"family": "vit", "name": "custom", "patch_size": 4, **sizes}, 8, 1, 5).structure
scoring = Scoring(model, model, structure, {"heads": 0.5, "neurons": 0.5}, structure.kinds, lambda: [batch], draw)
names = ("GroupMagnitude", "GroupTaylor", "LAMP")
scores = {name: getattr(importance, name)().scores(scoring) for name in names}
print(json.dumps({name: {group: vector.tolist() for group, vector in found.items()} for name, found in scores.items()}))
"""


def test_a_method_without_its_file_and_a_file_without_its_method(python: Path, tmp_path: Path) -> None:
    """Two different things are wrong, and the sentences say which."""
    groups = tmp_path / "groups/method"
    groups.mkdir(parents=True)
    (groups / "moving.yaml").write_text("name: moving\nrewind: none\n")
    without_method = launch(python, tmp_path, "--config-dir", str(groups.parent), "method=moving")
    assert without_method.returncode == 1
    assert (
        "method.name='moving' is not known; choose one of dense, movement, phases, refill, rsst, scratch (an installed"
        in without_method.stderr
    )
    yaml = next((python.parent.parent / "lib").glob("python3*/site-packages/my_pruning/conf/method/movement.yaml"))
    text = yaml.read_text()
    yaml.unlink()
    try:
        without_file = launch(python, tmp_path, "method=movement")
    finally:
        yaml.write_text(text)
    assert without_file.returncode == 1
    assert "method=movement is installed (my-pruning 0.1), but there is no method/movement.yaml" in without_file.stderr
    for result in (without_method, without_file):
        assert "Traceback" not in result.stderr
