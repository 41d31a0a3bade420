"""`python -m prune report outputs/NAME …`: read the runs of sweeps, write the report, print its summary."""

from __future__ import annotations

import argparse
import os
from datetime import datetime, timezone
from pathlib import Path

from prune.base.errors import UserError

FORMATS = ("html", "md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sweeps", nargs="+", type=Path, metavar="outputs/NAME", help="folders of sweeps, or single run directories"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: `report` in the first sweep's folder)"
    )
    parser.add_argument(
        "--baseline",
        metavar="METHOD",
        help="compare with this method (or configuration, as the report names it) in the same state; default: dense",
    )
    parser.add_argument(
        "--format", default="html,md", metavar="html,md", help="pages to write; figures and CSVs are always written"
    )
    parser.epilog = "Reads files only; may be run at any time, also while the runs go on."


def run(arguments: argparse.Namespace) -> int:
    """Write the report; 0 when it is written."""
    formats = [name.strip() for name in arguments.format.split(",") if name.strip()]
    if not formats or not set(formats) <= set(FORMATS):
        raise UserError(f"--format={arguments.format} must be a list of {', '.join(FORMATS)}.")
    # Plotting and data frames take a second to import: not for --help.
    from prune.report.compare import check_baseline
    from prune.report.document import build
    from prune.report.findings import Findings
    from prune.report.load import load
    from prune.report.terminal import show
    from prune.report.write import prepare, write

    baseline = arguments.baseline or "dense"
    sweeps = list(dict.fromkeys(arguments.sweeps))
    study = load(sweeps, baseline)
    if arguments.baseline:
        known = sorted({variant.method for variant in study.variants} | {variant.label for variant in study.variants})
        if baseline not in known:
            raise UserError(f"--baseline={baseline} is in none of the runs; choose one of: {'; '.join(known)}.")
        check_baseline(study, baseline)
    out = arguments.out or default_folder(sweeps)
    prepare(out)
    document = build(Findings(study, baseline))
    generated = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    written = write(document, out, formats, generated)
    show(document, [Path(os.path.relpath(path)) for path in written])
    return 0


def default_folder(sweeps: list[Path]) -> Path:
    """`<sweep>/report`, or `<first sweep>/report-with-<others>` for several."""
    others = "-".join(sweep.resolve().name for sweep in sweeps[1:])
    return sweeps[0] / (f"report-with-{others}" if others else "report")
