"""python -m benchmarks cpu | gpu | growth | kernels | compile | peers | profile"""

from __future__ import annotations

import argparse
from pathlib import Path


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast the system is on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    cpu = commands.add_parser("cpu", help="the table of figures, each with what it should reach")
    cpu.add_argument("--only", nargs="+", metavar="NAME", default=[], help="only these figures")
    growth = commands.add_parser("growth", help="step time against rate, depth, width, batch and tokens")
    growth.add_argument("--plots", type=Path, metavar="DIR", help="draw a plot per quantity")
    gpu = commands.add_parser("gpu", help="a GPU: seconds per CIFAR epoch by setting, host waits, input, saving")
    kernels = commands.add_parser("kernels", help="attention, GELU, LayerNorm and others, each written in several ways")
    compiled = commands.add_parser("compile", help="training steps with and without torch.compile")
    peers = commands.add_parser("peers", help="Torch-Pruning's own pruner beside runs of the same models, counts and epochs")
    commands.add_parser("profile", help="where the time of training steps goes, dense and at 70 %%, by torch.profiler")
    for command in (cpu, growth, gpu, kernels, compiled, peers):
        command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    for command in commands.choices.values():
        command.add_argument("--mini", action="store_true", help="miniature sizes: shows that it works, in seconds")
    options = parser.parse_args(arguments)

    from benchmarks.scale import FULL, MINI

    scale = MINI if options.mini else FULL
    if options.command == "cpu":
        from benchmarks.cpu import FIGURES, run

        unknown = sorted(set(options.only) - set(FIGURES))
        if unknown:
            parser.error(f"--only: {', '.join(unknown)} is not a figure; choose from {', '.join(FIGURES)}")
        run(scale, options.only, options.json)
    elif options.command == "growth":
        from benchmarks.growth import run as run_growth

        run_growth(scale, options.json, options.plots)
    elif options.command == "gpu":
        from benchmarks.gpu import run as run_gpu

        run_gpu(scale, options.mini, options.json)
    elif options.command == "kernels":
        from benchmarks.kernels import run as run_kernels

        run_kernels(scale, options.json)
    elif options.command == "compile":
        from benchmarks.compiled import run as run_compiled

        run_compiled(scale, options.json)
    elif options.command == "peers":
        from benchmarks.peers import run as run_peers

        run_peers(options.mini, options.json)
    else:
        from benchmarks.profile import run as run_profile

        run_profile(scale)


if __name__ == "__main__":
    main()
