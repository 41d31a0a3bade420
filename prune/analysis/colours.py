"""What the figures of analyses share: a method's colour as in the report, what is dense, kept or removed, and headings."""

from __future__ import annotations

from matplotlib.axes import Axes

from prune.analysis.base import Subject
from prune.architectures.group import Structure
from prune.report.figures.style import KNOWN_COLOURS, OTHER_COLOURS

DENSE = KNOWN_COLOURS["dense"]
REMOVED = "#a6a6a6"
"""Of units that were removed, hatched where they are areas."""

SHARE = "cividis"
"""Of shares and similarities, 0 to 1: readable in grey and by the colour-blind, as the report's survival maps."""

SIGNED = "PuOr_r"
"""Of what has a sign: orange is above zero, purple below."""

MOST_BLOCKS_NAMED = 26
"""Names on an axis; of more blocks only every second, third, … has one."""

MOST_UPRIGHT = 8
"""With more long names than this on an x axis they are turned."""


def colour_of(subject: Subject) -> str:
    """The colour of the state's model: its method's, as in the report; state 0 is dense."""
    method = str(subject.run.config.method.name)
    if subject.state == 0:
        return DENSE
    return OTHER_COLOURS[0] if method == "dense" else KNOWN_COLOURS.get(method, OTHER_COLOURS[0])


def heading_of(subject: Subject, text: str) -> str:
    """`digits, refill, seed 0, state 5: text`."""
    config = subject.run.config
    return f"{config.dataset.name}, {config.method.name}, seed {config.seed}, state {subject.state}: {text}"


def now_label(subject: Subject) -> str:
    """What the state's model is called beside the dense one."""
    return "dense" if subject.state == 0 else f"state {subject.state}"


def blocks_of(structure: Structure, kind: str) -> list[str]:
    """What the blocks are called that have units of a kind, in order."""
    return [structure.label(group.block) for group in structure.of(kind)]


def kind_by_block(axes: Axes, structure: Structure, kind: str) -> None:
    """Head a panel with a kind of unit, and name the blocks that have it below."""
    axes.set(title=kind, xlabel="block")
    block_ticks(axes, blocks_of(structure, kind))


def block_name(structure: Structure, block: int) -> str:
    """`block 3`, or `stage 2, block 3` where the family has stages."""
    return structure.label(block) if structure.labels else f"block {block}"


def block_ticks(axes: Axes, labels: list[str], along: str = "x") -> None:
    """Name the blocks on an axis."""
    step = -(-len(labels) // MOST_BLOCKS_NAMED)
    places = range(0, len(labels), step)
    shown = [labels[place] for place in places]
    if along == "y":
        axes.set_yticks(places, shown)
    elif len(shown) <= MOST_UPRIGHT or max(map(len, shown)) <= 3:
        axes.set_xticks(places, [text.replace(", ", "\n") for text in shown])  # stage 2, block 3
    else:
        axes.set_xticks(places, shown, rotation=90)
