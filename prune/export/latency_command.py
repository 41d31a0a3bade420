"""`python -m prune latency PATH…`: how much faster the pruned models are, on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.base.errors import UserError
from prune.rundir.locate import WHICH, locate_all

if TYPE_CHECKING:
    from rich.table import Table

    from prune.rundir.manifest import Manifest

ENGINES = ("torch", "onnxruntime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="a state's folder, a run's directory (its last finished state), or a sweep's folder (that of every run)",
    )
    parser.add_argument("--batch-size", type=_batch_sizes, default=(1, 64), metavar="N,…", help="images a pass (default: 1,64)")
    parser.add_argument(
        "--engine", type=_engines, metavar="NAME,…", help=f"{','.join(ENGINES)} (default: those that can run here)"
    )
    parser.add_argument("--repeats", type=_positive, default=30, help="timed passes of each model at least (default: 30)")
    parser.add_argument("--seconds", type=_seconds, default=1.0, help="timing of each setting at least (default: 1)")
    parser.add_argument("--warmup", type=_positive, default=5, help="passes before timing begins (default: 5)")
    parser.add_argument("--threads", type=_positive, help="CPU threads (default: all cores this process may use)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--which", choices=WHICH, default="best", help="which of a state's models (default: best)")


def run(arguments: argparse.Namespace) -> int:
    """Measure every model, write latency.json beside each, print a table. 1 if any could not be measured.

    Raises:
        UserError: if nothing can be measured at all.
    """
    sources, unfinished = locate_all(arguments.paths, arguments.which)
    for path in unfinished:
        print(f"{path}: no finished state yet, left out", file=sys.stderr)
    if not sources:
        raise UserError("nothing to measure: no run here has finished a state.")

    from rich.console import Console

    from prune.export.latency import FILE, machine, measure_model

    settings = _settings(arguments)
    written, failed, noisy = [], 0, False
    with Console(stderr=True).status("") as status:
        for source in sources:
            try:
                manifest, results = measure_model(source, settings, status.update)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                failed += 1
                continue
            Console().print(_table(manifest, results))
            noisy = noisy or any(line["p90_ms"] > 1.5 * line["median_ms"] for line in results)
            written.append(source.folder / FILE)
    if written:
        about = ", ".join(f"{key} {value}" for key, value in machine(settings).items())
        print(f"{about}; from raw images to logits, dense and pruned in turn")
        if noisy:
            print("Passes took very different times (p90 beyond 1.5 medians): other programs use this machine; see --threads.")
        print("\n".join(f"written: {path}" for path in written))
    return 1 if failed else 0


def _settings(arguments: argparse.Namespace) -> Any:
    from prune.base.machine import cpu_count
    from prune.engine.device import choose_device
    from prune.export.latency import Settings
    from prune.export.timing import why_not_onnxruntime

    device = choose_device(arguments.device, "--device ")
    engines = arguments.engine
    if engines is None:
        reason = why_not_onnxruntime(device)
        engines = ENGINES[:1] if reason else ENGINES
        if reason:
            print(f"onnxruntime is left out: {reason}", file=sys.stderr)
    return Settings(
        engines=engines,
        batch_sizes=arguments.batch_size,
        repeats=arguments.repeats,
        seconds=arguments.seconds,
        warmup=arguments.warmup,
        threads=arguments.threads or cpu_count(),
        device=device,
    )


def _table(manifest: Manifest, results: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    share = manifest.macs / manifest.architecture.structure.macs()
    table = Table(title=f"{manifest.run}, state {manifest.state}: {100 * share:.0f} % of the dense model's MACs")
    table.add_column("engine")
    table.add_column("batch", justify="right")
    table.add_column("model")
    for name in ("median ms", "p90 ms", "images/s", "speed-up"):
        table.add_column(name, justify="right")
    for at, line in enumerate(results):
        dense = next(other for other in results if _setting(other) == _setting(line) and other["variant"] == "dense")
        ratio = "" if line is dense else f"{dense['median_ms'] / line['median_ms']:.2f}×"
        where = (line["engine"], str(line["batch_size"])) if line is dense else ("", "")
        times = (f"{line['median_ms']:.2f}", f"{line['p90_ms']:.2f}", f"{line['images_per_second']:,.0f}")
        table.add_row(*where, line["variant"], *times, ratio, end_section=at % 2 == 1)
    return table


def _setting(line: dict[str, Any]) -> tuple[str, int]:
    return line["engine"], line["batch_size"]


def _list_of(item: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(dict.fromkeys(item(part.strip()) for part in text.split(",")))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _engine(text: str) -> str:
    if text not in ENGINES:
        raise argparse.ArgumentTypeError(f"{text!r} is not known; choose from {', '.join(ENGINES)}")
    return text


_batch_sizes = _list_of(_positive)
_engines = _list_of(_engine)
