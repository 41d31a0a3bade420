"""Whether a method beats its controls, in sentences. A claim about a method stands beside them."""

from __future__ import annotations

from collections.abc import Sequence

from prune.base.text import listed
from prune.config.schema import SCRATCH
from prune.report import budgets
from prune.report.findings import Findings, Result
from prune.report.run import Variant
from prune.report.wording import finding

PARAMETERS = "parameters"
"""The column of `Study.states` that is compared, to say whether sizes are equal."""


def beside_controls(findings: Findings, results: Sequence[Result]) -> list[str]:
    """One statement for each method that has controls.

    Args:
        results: the comparisons of a method with a control.
    """
    by_method: dict[str, list[Result]] = {}
    for result in results:
        by_method.setdefault(result.pair.first.label, []).append(result)
    return [_of_method(findings, own) for own in by_method.values()]


def without_controls(findings: Findings, pruning: Sequence[Variant], results: Sequence[Result]) -> list[str]:
    """A sentence that names the methods of which no control is there, and says how to run them."""
    having = {result.pair.first.label for result in results}
    without = [variant.label for variant in pruning if variant.label not in having and variant.method != SCRATCH]
    if not without:
        return []
    sweeps = [sweep.resolve() for sweep in findings.study.sweeps]
    name = f" name={sweeps[0].name}" if len(sweeps) == 1 else ""
    return [
        f"No controls: {', '.join(without)}. Whether it matters which units stay, and with which weights, is not known; "
        f"`python launch.py experiment=controls{name}` runs them."
    ]


def _of_method(findings: Findings, results: Sequence[Result]) -> str:
    """Each control in turn, then what they come to; that seeds are too few is said once."""
    warn = any(result.at_state.beyond_noise is not None for result in results)
    parts = [
        f"against {_name(result)} in state {result.state}{_size(findings, result)}{_epochs(findings, result)}: "
        f"{finding(result.at_state, warn)}"
        for result in results
    ]
    label = results[0].pair.first.label
    return f"{label} beside its controls, {'; '.join(parts)}. {_verdict(label, results)}{_training(findings, results)}"


def _name(result: Result) -> str:
    """`criterion=random`, of `refill control: criterion=random`."""
    return result.pair.second.label.rpartition("control: ")[2]


def _size(findings: Findings, result: Result) -> str:
    """Whether both sides have as many parameters in that state, seed by seed."""
    sides = [findings.study.by_seed(v, PARAMETERS, result.state) for v in (result.pair.first, result.pair.second)]
    shared = set(sides[0]) & set(sides[1])
    return " at equal size" if all(sides[0][seed] == sides[1][seed] for seed in shared) else " at another size"


def _epochs(findings: Findings, result: Result) -> str:
    """Said where the two have had different numbers of epochs since they were last rewound."""
    if not budgets.unequal(findings, result):
        return ""
    return f" ({budgets.both(findings, result, budgets.epochs).replace(' / ', ' against ')} epochs since the last rewind)"


def _training(findings: Findings, results: Sequence[Result]) -> str:
    """Said where a difference is not of units and weights alone."""
    unlike = [result for result in results if budgets.unequal(findings, result)]
    return f" Where the epochs differ ({_names(unlike)}), so does the training: the difference is of both." if unlike else ""


def _verdict(label: str, results: Sequence[Result]) -> str:
    unjudged = [r for r in results if r.at_state.beyond_noise is None]
    beaten = [r for r in results if r.at_state.beyond_noise and r.at_state.found.mean > 0]
    ahead = [r for r in results if r.at_state.beyond_noise and r.at_state.found.mean < 0]
    equal = [r for r in results if r.at_state.beyond_noise is False]
    if len(unjudged) == len(results):
        return f"Whether {label} beats its controls cannot be said of so few seeds."
    if len(beaten) == len(results):
        return f"So {label} beats {'its control' if len(results) == 1 else 'each of its controls'} beyond noise."
    found = [f"beats {_names(beaten)} beyond noise" if beaten else "beats no control beyond noise"]
    found += [f"is behind {_names(ahead)}"] if ahead else []
    found += [f"cannot be told from {_names(equal)}"] if equal else []
    found += [f"has too few seeds for a word on {_names(unjudged)}"] if unjudged else []
    return f"So {label} {listed(found)}."


def _names(results: Sequence[Result]) -> str:
    return listed([_name(result) for result in results])
