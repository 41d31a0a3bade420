"""What the pages under docs/ say is so: their code runs, their commands compose, their tables are those of the schema."""

from __future__ import annotations

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
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from prune.base.files import read_json, read_jsonl
from prune.config.schema import RunConfig
from prune.rundir.identity import run_id
from prune.sweep.entry import read_config
from tests.conftest import CONF
from tests.test_imports import ORDER

ROOT = CONF.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("**/*.md"))
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
WALKTHROUGHS = sorted(page.name for page in PAGES if page.name.startswith("adding-"))

# ---- the pages that add something: their files are put where they say, and run ------------------------------------------

NAMED_BLOCK = re.compile(
    r"^(?:Add to )?`(?P<path>[\w./-]+)`(?:, to `(?P<table>\w+)`)?:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> Iterator[tuple[str, str, str | None]]:
    """(path, text, the table of that file to which it is added) of each block that names a file; None: it is the file."""
    for found in NAMED_BLOCK.finditer((DOCS / page).read_text()):
        yield found["path"], found["text"], found["table"]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program in which a reader has followed all these pages."""
    copy = tmp_path_factory.mktemp("followed")
    for name in ("prune", "conf", "hydra_plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "launch.py", copy)
    for page in WALKTHROUGHS:
        for path, text, table in blocks(page):
            target = copy / path
            if table is not None:
                before, opening, after = re.split(rf"(^{table} = Registry\([^{{]*{{)", target.read_text(), flags=re.MULTILINE)
                target.write_text(f"{before}{opening}\n{text}{after}")
            elif not path.startswith(("pyproject.toml", "my_pruning/")):  # tests/test_plugins.py installs that package
                assert not target.exists(), path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
    return copy


def run_page(page: str, folder: Path) -> list[Path]:
    """Run the page's own commands; returns the directories of the runs that they made."""
    (script,) = COMMANDS.findall((DOCS / page).read_text())
    there = set(folder.glob("outputs/*/*/states.jsonl"))
    for line in script.splitlines():
        _, *arguments = shlex.split(line)
        if arguments[0] == "launch.py":
            arguments += ["hardware=cpu", "hardware.threads=1"]
        execute(folder, *arguments)
    return sorted(path.parent for path in set(folder.glob("outputs/*/*/states.jsonl")) - there)


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
    assert [line["kept"]["heads"] for line in (dense, soft, hard)] == [24, 13, 7]  # 30 % of 24 heads in the end
    assert (read_json(run / "status.json") or {})["status"] == "done"


def test_the_added_criterion_ranks(followed: Path) -> None:
    (run,) = run_page("adding-a-criterion.md", followed)
    assert "criterion: path_norm" in (run / "config.yaml").read_text()
    assert read_jsonl(run / "states.jsonl")[-1]["kept"] == {"heads": 7, "neurons": 173}  # 30 % of 24 and of 576


def test_the_added_dataset_trains(followed: Path) -> None:
    (run,) = run_page("adding-a-dataset.md", followed)
    facts = read_json(run / "data.json") or {}
    assert len(facts["classes"]) == 10
    assert re.fullmatch("[0-9a-f]{64}", facts["fingerprint"])
    assert len(read_jsonl(run / "states.jsonl")) == 2


def test_the_added_architecture_is_right_and_is_pruned(followed: Path) -> None:
    refill, rsst = run_page("adding-an-architecture.md", followed)  # their first command asserts that nothing is wrong
    for run in (refill, rsst):
        dense, _, last = read_jsonl(run / "states.jsonl")
        assert dense["kept"] == {"neurons": 608}  # as the page's configuration says
        assert last["kept"] == {"neurons": 182}  # 30 % of them
        assert len(last["groups"]) == 5  # blocks
        assert sum(last["groups"].values()) == 182
    assert (followed / "outputs/convnext/report").is_dir()


# ---- commands -----------------------------------------------------------------------------------------------------------

LAUNCHES = re.compile(r"^(?: {4,}|.* && )?python launch\.py (?!--help)(.+)$", re.MULTILINE)


def launches() -> list[tuple[str, str]]:
    """(page, arguments) of every `python launch.py …` that stands as a command on a page, but those that are run above."""
    texts = {
        str(page.relative_to(ROOT)): COMMANDS.sub("", page.read_text()) if page.name in WALKTHROUGHS else page.read_text()
        for page in (*FRONT, *PAGES)
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


OF_A_RUN = ("--config-dir", "method.counts=")
"""Commands that need files: a folder of one's own, or a run that is there."""


@pytest.mark.parametrize(("page", "arguments"), [pair for pair in launches() if not any(part in pair[1] for part in OF_A_RUN)])
def test_commands_compose(page: str, arguments: str) -> None:
    all_cells = cells(arguments)
    assert len(all_cells) == 1 or "-m" in arguments.split(), "several values need -m"
    # The first and the last differ in every swept key, and so in the run that they are.
    ends = {tuple(cell): cell for cell in (all_cells[0], all_cells[-1])}.values()
    assert len({run_id(compose_command(cell)) for cell in ends}) == len(ends)


# ---- what is claimed in several places ----------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere() -> None:
    (version,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "prune/__init__.py").read_text(), re.MULTILINE)
    assert re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE) == [version]
    assert re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == version


def test_ci_runs_the_oldest_and_the_newest_python_that_is_claimed() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    claimed = re.findall(r'^  "Programming Language :: Python :: (3\.\d+)",$', project, re.MULTILINE)
    assert claimed == sorted(claimed, key=lambda version: int(version[2:]))
    assert f'requires-python = ">={claimed[0]}"' in project
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"]["check"]["strategy"]["matrix"]["python"] == [claimed[0], claimed[-1]]


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
    sections = {name for name, field in RunConfig.model_fields.items() if not isinstance(field.default, str | int | None)}
    assert script.sections(page) == sections | {"run"}
    assert "|  |" not in page  # every key has a meaning


def test_groups_and_options_are_those_of_conf() -> None:
    page = (DOCS / "configuration.md").read_text()
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir()):
        (row,) = re.findall(rf"^\| `{folder.name}` \| (.*) \|$", page, re.MULTILINE)
        assert sorted(re.findall(r"`(\w+)`", row)) == sorted(path.stem for path in folder.glob("*.yaml"))


LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")


@pytest.mark.parametrize("page", [*FRONT, *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in LINK.findall(page.read_text()):
        if target.startswith("http"):
            continue
        place = page.parent / target if target else page
        assert place.exists(), target
        if heading:
            assert heading in anchors(place), f"{target}#{heading}"


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


PATH = re.compile(r"`((?:benchmarks|conf|docs|prune|tests)/[\w./-]*|\.ci/\w+|[a-z]\w*\.(?:py|toml))`")
TO_BE_WRITTEN = {"conf/hardware/mycluster.yaml"}
"""A file that a page asks its reader to write, without giving its whole text."""


@pytest.mark.parametrize("page", [*FRONT, *PAGES], ids=lambda page: page.name)
def test_paths_that_a_page_names_are_there(page: Path) -> None:
    written = {path for name in WALKTHROUGHS for path, _, table in blocks(name) if table is None} | TO_BE_WRITTEN
    assert [path for path in PATH.findall(page.read_text()) if path not in written and not (ROOT / path).exists()] == []


def test_the_wings_stand_in_the_order_of_imports() -> None:
    rows = re.findall(r"^\| `prune/(\w+)(?:/|\.py)` \|", (DOCS / "concepts.md").read_text(), re.MULTILINE)
    assert rows == [wing for wing in ORDER if wing != "__main__"]


def test_no_number_is_still_to_be_filled_in() -> None:
    texts = {page.name: re.findall(r"\b(?:RATE|TODO|TBD|XXX)(?:_\w+)?\b", page.read_text()) for page in (*FRONT, *PAGES)}
    assert {name: found for name, found in texts.items() if found} == {}


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    assert [
        page for page in (str(path.relative_to(DOCS)) for path in PAGES) if page != "README.md" and f"]({page})" not in index
    ] == []
