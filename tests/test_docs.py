"""What the pages under docs/ say is so: their code runs, their commands compose, their tables are those of the schema."""

from __future__ import annotations

import configparser
import importlib.util
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from prune.config.schema import RunConfig
from prune.base.files import read_json, read_jsonl
from prune.rundir.identity import run_id
from prune.sweep.entry import read_config
from tests.conftest import CONF

ROOT = CONF.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
WALKTHROUGHS = ("adding-a-method.md", "adding-a-criterion.md", "adding-a-dataset.md")

# ---- the pages that add something: their files are put where they say, and run ------------------------------------------

NAMED_BLOCK = re.compile(
    r"^(?P<add>Add to )?`(?P<path>[\w./-]+)`[^\n]*:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> Iterator[tuple[str, str, bool]]:
    """(path, text, whether it is added to the table of that file) of each block that names a file."""
    for found in NAMED_BLOCK.finditer((DOCS / page).read_text()):
        yield found["path"], found["text"], bool(found["add"])


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program in which a reader has followed all three pages."""
    copy = tmp_path_factory.mktemp("followed")
    for name in ("prune", "conf", "hydra_plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "launch.py", copy)
    for page in WALKTHROUGHS:
        for path, text, added in blocks(page):
            target = copy / path
            if added:
                before, table, after = target.read_text().partition("    {\n")
                assert table, path
                target.write_text(before + table + text + after)
            elif path != "pyproject.toml":
                assert not target.exists(), path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
    return copy


def run_page(page: str, folder: Path) -> list[Path]:
    """Run the page's own commands; returns the directories of the runs that they made."""
    (script,) = COMMANDS.findall((DOCS / page).read_text())
    outputs = folder / "outputs" / page
    for line in script.splitlines():
        _, *arguments = shlex.split(line)
        if arguments[0] == "launch.py":
            arguments += ["hardware=cpu", "hardware.threads=1", f"outputs={outputs}"]
        execute(folder, *arguments)
    return sorted(path.parent for path in outputs.glob("*/*/states.jsonl"))


def execute(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_added_method_prunes_softly_then_hard(followed: Path) -> None:
    (run,) = run_page("adding-a-method.md", followed)
    dense, soft, hard = read_jsonl(run / "states.jsonl")
    assert run.name.startswith("digits-soft_hard-s0-")
    assert soft["marked_norm_ratio"] < 0.1
    assert dense["marked_norm_ratio"] is hard["marked_norm_ratio"] is None
    assert [line["heads_kept"] for line in (dense, soft, hard)] == [24, 13, 7]  # 30 % of 24 heads in the end
    assert (read_json(run / "status.json") or {})["status"] == "done"


def test_the_added_criterion_ranks(followed: Path) -> None:
    (run,) = run_page("adding-a-criterion.md", followed)
    assert "criterion: path_norm" in (run / "config.yaml").read_text()
    assert read_jsonl(run / "states.jsonl")[-1]["neurons_kept"] == 173  # 30 % of 576


def test_the_added_dataset_trains(followed: Path) -> None:
    (run,) = run_page("adding-a-dataset.md", followed)
    facts = read_json(run / "data.json") or {}
    assert len(facts["classes"]) == 10
    assert re.fullmatch("[0-9a-f]{64}", facts["fingerprint"])
    assert len(read_jsonl(run / "states.jsonl")) == 2


def test_a_method_of_another_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    files = {path: text for path, text, added in blocks("adding-a-method.md") if not added}
    project = configparser.ConfigParser()
    project.read_string(files["pyproject.toml"])
    name, version = (unquoted(project["project"][key]) for key in ("name", "version"))
    (section,) = (section for section in project.sections() if section.startswith("project.entry-points."))
    entries = "".join(f"{key} = {unquoted(value)}\n" for key, value in project[section].items())
    # What pip installs, laid out by hand: the package, and what its metadata says.
    package = tmp_path / "my_pruning"
    package.mkdir()
    (package / "soft_hard.py").write_text(files["prune/methods/soft_hard.py"])
    about = tmp_path / f"my_pruning-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(f"[{unquoted(section.removeprefix('project.entry-points.'))}]\n{entries}")
    (tmp_path / "my_conf/method").mkdir(parents=True)
    (tmp_path / "my_conf/method/soft_hard.yaml").write_text(files["conf/method/soft_hard.yaml"])
    command = [str(ROOT / "launch.py"), "--config-dir", "my_conf", "method=soft_hard", "dataset=digits", "model=vit_micro"]
    # Composing and planning is enough: the class itself runs in the test above.
    assert "soft_hard" in execute(tmp_path, *command, "plan=true", "outputs=outputs")


def unquoted(text: str) -> str:
    return text.strip('"')


# ---- commands -----------------------------------------------------------------------------------------------------------

LAUNCHES = re.compile(r"^(?: {4,}|.* && )?python launch\.py (?!--help)(.+)$", re.MULTILINE)


def launches() -> list[tuple[str, str]]:
    """(page, arguments) of every `python launch.py …` that stands as a command on a page, but those that are run above."""
    texts = {
        str(page.relative_to(ROOT)): COMMANDS.sub("", page.read_text()) if page.name in WALKTHROUGHS else page.read_text()
        for page in (ROOT / "README.md", *PAGES)
    }
    return [(name, arguments) for name, text in texts.items() for arguments in LAUNCHES.findall(text)]


def cells(arguments: str) -> list[list[str]]:
    """The overrides of each run that a command line asks for."""
    words = [word for word in shlex.split(arguments, comments=True) if word not in ("-m", "…")]
    if "--cfg" in words:
        words = words[: words.index("--cfg")]
    parsed = OverridesParser.create().parse_overrides(words)
    choices = [
        [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [word]
        for override, word in zip(parsed, words, strict=True)
    ]
    return [list(cell) for cell in itertools.product(*choices)]


def compose_command(cell: list[str]) -> RunConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return read_config(compose("config", overrides=cell))


@pytest.mark.parametrize(("page", "arguments"), [pair for pair in launches() if "--config-dir" not in pair[1]])
def test_commands_compose(page: str, arguments: str) -> None:
    all_cells = cells(arguments)
    assert len(all_cells) == 1 or "-m" in arguments.split(), "several values need -m"
    # The first and the last differ in every swept key, and so in the run that they are.
    ends = {tuple(cell): cell for cell in (all_cells[0], all_cells[-1])}.values()
    assert len({run_id(compose_command(cell)) for cell in ends}) == len(ends)


# ---- the reference, and links --------------------------------------------------------------------------------------------


def load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_configuration_reference_is_up_to_date() -> None:
    script = load_script(DOCS / "make_configuration.py")
    page = (DOCS / "configuration.md").read_text()
    assert script.renewed(page) == page, "run: python docs/make_configuration.py"
    sections = {name for name, field in RunConfig.model_fields.items() if not isinstance(field.default, str | int)}
    assert script.sections(page) == sections | {"run"}
    assert "|  |" not in page  # every key has a meaning


def test_groups_and_options_are_those_of_conf() -> None:
    page = (DOCS / "configuration.md").read_text()
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir()):
        (row,) = re.findall(rf"^\| `{folder.name}` \| (.*) \|$", page, re.MULTILINE)
        assert sorted(re.findall(r"`(\w+)`", row)) == sorted(path.stem for path in folder.glob("*.yaml"))


LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    assert [page.name for page in PAGES if page.name != "README.md" and f"]({page.name})" not in index] == []
