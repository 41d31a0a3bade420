"""RSST's penalty: how λ grows, and what it does to one weight. Plain arithmetic, no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from prune.base.section import Section

SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "exp_custom_exponents": lambda u, k: (math.exp(u**k) - 1) / (math.e - 1),
    "exp_custom": lambda u, k: (math.exp(u) - 1) / (math.e - 1),
    "x": lambda u, k: u,
    "x^2": lambda u, k: u**2,
    "x^3": lambda u, k: u**3,
    "exp": lambda u, k: 10 ** (-4 * (1 - u)),
}
"""λ(u) / ceiling for u in (0, 1]; k is `penalty.exponents`. All reach 1 at u = 1."""


class PenaltyOptions(Section):
    schedule: Literal["exp_custom_exponents", "exp_custom", "x", "x^2", "x^3", "exp"] = Field(
        "exp_custom_exponents", description="the shape of λ's growth"
    )
    ceiling: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        1.0, description="λ at the end of the ramp; 0: off; auto: the smallest that suffices"
    )
    exponents: float = Field(4.0, gt=0, description="k of exp_custom_exponents")


def growth(schedule: str, exponents: float, step: int, ramp_steps: int) -> float:
    """λ / ceiling at a step of the state: the schedule at u = (step + 1) / ramp_steps, held at 1 once the ramp is over."""
    return SCHEDULES[schedule](min(1.0, (step + 1) / ramp_steps), exponents)


@dataclass(frozen=True)
class Decay:
    """What became of one weight that began at 1 under the penalty alone."""

    final: float
    largest: float
    lowest: float  # with its sign: below 0 once the weight has shot past zero
    strongest: float  # the largest lr·λ of any step

    def stable(self, decoupled: bool) -> bool:
        """Whether |w| never rose above 1 and, when decoupled, no step could flip the weight's sign."""
        return math.isfinite(self.largest) and self.largest <= 1.0 and not (decoupled and self.strongest >= 1.0)


def simulate(growths: Sequence[float], lrs: Sequence[float], ceiling: float, momentum: float | None) -> Decay:
    """One weight, from w = 1, under the penalty alone.

    Args:
        growths: λ_t / ceiling at each step.
        lrs: lr_t at each step.
        ceiling: the penalty's ceiling g.
        momentum: SGD: v ← m·v + λ_t·w, w ← w - lr_t·v. None: decoupled (AdamW), w ← w·(1 - lr_t·λ_t).
    """
    weight, velocity, largest, lowest, strongest = 1.0, 0.0, 1.0, 1.0, 0.0
    for share, lr in zip(growths, lrs, strict=True):
        strength = ceiling * share
        if momentum is None:
            weight *= 1 - lr * strength
        else:
            velocity = momentum * velocity + strength * weight
            weight -= lr * velocity
        largest, lowest, strongest = max(largest, abs(weight)), min(lowest, weight), max(strongest, lr * strength)
        if largest > 1e9:
            break
    return Decay(abs(weight), largest, lowest, strongest)


NEAR_ZERO = 0.01
"""A weight that began at 1 must end below this for its removal to be harmless."""


def smallest_ceiling(growths: Sequence[float], lrs: Sequence[float], momentum: float | None) -> float | None:
    """The smallest ceiling whose simulated weight ends at or below `NEAR_ZERO` and stays stable; None if there is none.

    With momentum a weight may shoot past zero, so its final size rises and falls with the ceiling. Whether it comes down to
    `NEAR_ZERO` at any step does not: the smallest ceiling at which it does is the one at which it does so in the last step.
    Doubling finds a ceiling that is large enough, bisection (to 0.01 %) the smallest; the answer is rounded up to four digits
    so that it can be typed.
    """
    run = partial(simulate, growths, lrs, momentum=momentum)

    def suffices(ceiling: float) -> bool:
        decay = run(ceiling)
        return decay.final <= NEAR_ZERO and decay.stable(momentum is None)

    high = 1e-6
    while run(high).lowest > NEAR_ZERO:
        high *= 2
        if high > 1e12:
            return None
    low = high / 2
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if run(middle).lowest <= NEAR_ZERO else (middle, high)
    return next((ceiling for ceiling in (_round_up(high), high) if suffices(ceiling)), None)


def _round_up(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return float(f"{math.ceil(value / unit) * unit:.6g}")
