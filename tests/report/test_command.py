"""`python -m prune report` as a user calls it: what it writes, prints and refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from prune.cli import main
from prune.report.figures.accuracy import by_state
from prune.report.figures.style import Style, styled
from prune.report.findings import Findings
from prune.report.load import load
from tests.report.sweep import configuration, epoch_line, realistic, realistic_report, state_line, write_flat, write_run


@pytest.fixture(scope="module")
def report() -> Path:
    """The report of a small realistic sweep with all of its troubles."""
    return realistic_report()


def test_everything_is_written(report: Path) -> None:
    figures = {path.stem for path in (report / "figures").glob("*.png")}
    assert figures == {path.stem for path in (report / "figures").glob("*.svg")}
    kinds = ("accuracy_by_state", "accuracy_by_rate", "pareto_parameters", "pareto_macs", "pareto_latency", "training_curves")
    kinds += ("within_states", "penalty", "recovery", "removal", "time")
    assert figures == {f"{kind}-cifar100" for kind in kinds} | {"survival-cifar100-refill", "survival-cifar100-rsst"}
    names = ("overall", "differences", "accuracy_by_state", "every_state", "parameters", "macs", "retention", "latency")
    names += ("recovery", "removal", "penalty", "survival", "curves", "convergence", "overfitting", "time")
    tables = {f"{name}-cifar100" for name in names} | {"runs", "environment", "states", "epochs"}
    assert {path.stem for path in (report / "tables").glob("*.csv")} == tables


def test_every_csv_row_leads_to_run_directories(report: Path) -> None:
    for path in (report / "tables").glob("*.csv"):
        frame = pd.read_csv(path)
        column = "directory" if "directory" in frame else "directories"
        for cell in frame[column].drop_duplicates():
            assert all((Path(folder) / "config.yaml").is_file() for folder in cell.split()), path


def test_links_of_the_markdown_lead_somewhere(report: Path) -> None:
    text = (report / "report.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 40
    assert [link for link in links if not (report / link).is_file()] == []
    assert "## Conclusions" in text
    assert text.count("![") == len(list((report / "figures").glob("*.png")))


def test_tables_of_the_markdown_are_rectangular(report: Path) -> None:
    width = None
    for line in (report / "report.md").read_text().splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert width in (None, cells), line
        width = cells


def test_the_page_carries_its_figures_and_asks_for_nothing(report: Path) -> None:
    text = (report / "report.html").read_text()
    images = re.findall(r'<img src="([^"]{0,40})', text)
    assert len(images) == len(list((report / "figures").glob("*.png")))
    assert all(image.startswith("data:image/svg+xml;base64,") for image in images)
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert "<script" not in text


@pytest.mark.usefixtures("undrawn")
def test_the_terminal_shows_the_overall_result_and_where_the_page_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_flat(Path("outputs/main"), "refill", {0: [80.0, 81.25]})
    assert main(["report", "outputs/main", "--format", "md"]) == 0
    printed = capsys.readouterr().out
    assert "1 run (1 complete) of 1 configuration on digits." in printed
    assert "81.25" in printed
    assert "Report: outputs/main/report/report.md" in printed
    assert not Path("outputs/main/report/report.html").exists()


@pytest.mark.usefixtures("undrawn")
def test_several_sweeps_in_one_report(tmp_path: Path) -> None:
    write_flat(tmp_path / "one", "refill", {0: [80.0, 81.0]})
    write_flat(tmp_path / "two", "dense", {0: [80.0, 81.0]})
    arguments = [str(tmp_path / "one"), str(tmp_path / "two"), "--format", "md"]
    assert main(["report", *arguments]) == 0
    text = (tmp_path / "one" / "report-with-two" / "report.md").read_text()
    assert text.startswith("# Pruning report: one + two")
    assert "refill − dense" in text
    assert main(["report", *arguments, "--out", str(tmp_path / "here")]) == 0
    assert (tmp_path / "here" / "report.md").is_file()


@pytest.mark.usefixtures("undrawn")
def test_every_dataset_has_its_own_section_and_its_own_files(tmp_path: Path) -> None:
    realistic(tmp_path, seeds=1, states=3, epochs=4)
    assert main(["report", str(tmp_path)]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    for dataset in ("cifar10", "cifar100"):
        assert f"\n## {dataset}\n" in text
        assert pd.read_csv(tmp_path / "report" / "tables" / f"overall-{dataset}.csv")["dataset"].unique() == [dataset]


@pytest.mark.usefixtures("undrawn")
def test_a_report_in_a_sweep_is_not_taken_for_a_run(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    for _ in range(2):
        assert main(["report", str(tmp_path), "--format", "md"]) == 0
    assert "1 run (1 complete)" in (tmp_path / "report" / "report.md").read_text()


def test_a_sweep_in_its_first_epochs_and_files_cut_short(tmp_path: Path) -> None:
    """No state is finished, a line is half-written, status.json is torn: the report says what there is."""
    config = configuration(schedule__states=3)
    folder = write_run(tmp_path, config, [], [epoch_line(0, 0, 12.5)], {"status": "running", "state": 0, "epoch": 1})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"state": 0, "epoch": 1, "val_acc')
    torn = write_run(tmp_path, configuration(method="rsst"), [state_line(configuration(method="rsst"), 0, 80.0)])
    (torn / "status.json").write_text('{"status": "runn')
    (torn / "states.jsonl").write_text((torn / "states.jsonl").read_text()[:-20])
    assert main(["report", str(tmp_path)]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "No run has finished a state yet, so there is nothing to compare." in text
    assert "running in state 0, epoch 1" in text
    assert "no readable status.json" in text


def test_a_run_without_any_epoch(tmp_path: Path) -> None:
    write_run(tmp_path, configuration(), [], [], {"status": "queued", "starts": []})
    assert main(["report", str(tmp_path)]) == 0
    assert "waiting to start" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{sweep}/empty"], "empty holds no runs; give a sweep's folder such as outputs/main."),
        (["{sweep}/old"], "old/run/config.yaml was written by another version of this program (format 1; this one reads"),
        (["{sweep}/nowhere"], "nowhere is not a folder; give a sweep's folder such as outputs/main."),
        (["{sweep}/main", "--baseline", "lottery"], "--baseline=lottery is in none of the runs; choose one of: refill."),
        (
            ["{sweep}/two", "--baseline", "refill"],
            "--baseline=refill is more than one configuration on digits; choose one of: refill · criterion=magnitude; "
            "refill · criterion=taylor.",
        ),
        (["{sweep}/main", "--format", "pdf"], "--format=pdf must be a list of html, md."),
        (["{sweep}/main", "--out", "{sweep}/file/x"], "cannot be written to (Not a directory)."),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "old" / "run").mkdir(parents=True)
    (tmp_path / "old" / "run" / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "file").write_text("")
    write_flat(tmp_path / "main", "refill", {0: [80.0, 81.0]})
    for criterion in ("magnitude", "taylor"):
        write_flat(tmp_path / "two", "refill", {0: [80.0, 81.0]}, method__criterion=criterion)
    assert main(["report", *(argument.format(sweep=tmp_path) for argument in arguments)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_another_baseline(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    write_flat(tmp_path, "rsst", {0: [80.0, 80.5]})
    assert main(["report", str(tmp_path), "--baseline", "rsst", "--format", "md"]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "last − rsst" in text
    assert "refill in state 1 (" in text


def test_torch_is_never_imported(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    script = (
        "import sys; from matplotlib.figure import Figure; Figure.savefig = lambda self, file, **options: None; "
        "from prune.cli import main; code = main(['report', sys.argv[1]]); sys.exit(code or ('torch' in sys.modules) * 99)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True)


def test_the_same_files_give_the_same_figures(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    findings = Findings(load([tmp_path], "dense"), "dense")
    with styled():
        first, second = (by_state(findings, Style(findings.study), "digits") for _ in range(2))
    assert first is not None
    assert first == second
