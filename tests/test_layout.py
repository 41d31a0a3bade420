"""The tests are laid out as the code is: whoever changes a module finds its tests under the same path and name."""

from __future__ import annotations

from pathlib import Path, PurePath

ROOT = Path(__file__).resolve().parent.parent

WITHOUT_WING = {"faults", "slurm"}
"""What is tried at whole runs: damaged and killed ones, and a scheduler's."""

ACROSS_MODULES = {
    "analysis/test_cost.py",
    "analysis/test_show.py",
    "architectures/test_presets.py",
    "architectures/test_vit_variants.py",
    "config/test_bad_families.py",
    "config/test_bad_input.py",
    "engine/test_combinations.py",
    "engine/test_endings.py",
    "engine/test_fake_gpu.py",
    "engine/test_hooks.py",
    "engine/test_mamba_runs.py",
    "engine/test_swin.py",
    "engine/test_vit_variants.py",
    "export/test_family.py",
    "export/test_run.py",
    "export/test_vit_variants.py",
    "methods/test_resume.py",
    "pruning/test_swin.py",
    "pruning/test_torch_pruning.py",
    "report/test_kinds.py",
    "report/test_page_broad.py",
    "tracking_wandb/test_outage.py",
}
"""Tests of a behaviour that is no single module's."""


def modules(folder: str) -> set[PurePath]:
    """The Python files below a folder, within it."""
    return {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py")}


def test_the_folders_of_the_tests_are_those_of_the_code() -> None:
    code, tests = ({path.parent for path in modules(folder)} for folder in ("prune", "tests"))
    assert {folder.parts[0] for folder in tests if folder.parts} - WITHOUT_WING == {f.parts[0] for f in code if f.parts}
    assert {str(folder) for folder in tests - code} == WITHOUT_WING


def test_a_file_of_tests_has_its_module_or_is_named_here() -> None:
    tests = {path for path in modules("tests") if path.name.startswith("test_") and path.parts[0] not in WITHOUT_WING}
    of_a_wing = {path for path in tests if len(path.parts) > 1}
    without = of_a_wing - {path.with_name(f"test_{path.name}") for path in modules("prune")}
    assert {path.as_posix() for path in without} == ACROSS_MODULES
