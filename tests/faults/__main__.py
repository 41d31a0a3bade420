"""Damage every file, kill at every point, fill every disk, and count what becomes of it.

    python -m tests.faults --all --jobs 2
    python -m tests.faults --sample 200 --seed 3
    python -m tests.faults --all --only "resume, killed"

Prints each case that went wrong, and the table of docs/reliability.md; exit code 1 if any did.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import torch

from tests.faults.cases import Case, Harness, Result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every case")
    parser.add_argument("--sample", type=int, default=100, help="so many cases, without --all")
    parser.add_argument("--seed", type=int, default=0, help="which cases")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", help="cases of groups that begin so")
    parser.add_argument("--file", default="", help="cases of files whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        harness = Harness(Path(folder))
        cases = [case for case in harness.all() if case.group.startswith(arguments.only) and arguments.file in case.file]
        if not arguments.all:
            cases = random.Random(arguments.seed).sample(cases, min(arguments.sample, len(cases)))
        try:
            results = _run(harness, cases, arguments.jobs)
        finally:
            harness.close()
    bad = [result for result in results if not result.good]
    print(f"{len(cases)} cases: " + ", ".join(f"{n} {name}" for name, n in Counter(case.group for case in cases).items()))
    for result in bad:
        print(f"{result.word.upper()}: {result.case}: {result.text[:600]}")
    print(_table(results))
    print(f"{len(results)} checks, {len(bad)} of them wrong; {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


def _run(harness: Harness, cases: list[Case], jobs: int) -> list[Result]:
    if jobs == 1:
        found = [harness.run(case) for case in cases]
    else:
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            found = list(pool.imap_unordered(harness.run, cases, chunksize=4))
    return [result for results in found for result in results]


def _table(results: list[Result]) -> str:
    """Markdown: a row for each group of cases, a column for each end."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        counts[result.what][result.word] += 1
    words = [word for word in ("identical", "named", "refused", "same", "says so", "one sentence") if _any(counts, word)]
    words += sorted({result.word for result in results} - set(words))
    lines = [f"| | checks | {' | '.join(words)} |", f"|---|{'---:|' * (len(words) + 1)}"]
    for group, found in counts.items():
        lines.append(f"| {group} | {found.total()} | {' | '.join(str(found[word] or '–') for word in words)} |")
    return "\n".join(lines)


def _any(counts: dict[str, Counter[str]], word: str) -> bool:
    return any(found[word] for found in counts.values())


if __name__ == "__main__":
    sys.exit(main())
