"""Secrets stay out of the configuration: it is written to files that others may read, and to services."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from prune.base.errors import UserError
from prune.base.text import flatten

SUBMISSION_ONLY = ("hardware.setup", "hardware.sbatch")
"""Keys that may hold secrets: they go into the submission alone, and no message shows their values."""

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)
_FROM_ENVIRONMENT = re.compile(r"\$\{\s*oc\.env\s*:\s*['\"]?(\w+)")


def refuse_secrets(unresolved: Mapping[str, Any]) -> None:
    """Raise `UserError` where a key takes its value from a variable whose name says that it is a secret.

    Args:
        unresolved: the composed configuration, its interpolations as they were typed.
    """
    for key, value in flatten(unresolved).items():
        if key in SUBMISSION_ONLY:
            continue
        for text in _texts(value):
            for name in _FROM_ENVIRONMENT.findall(text):
                if _SECRET.search(name):
                    raise UserError(
                        f"{key} would hold what the environment's {name} says, which looks like a secret, and a run's files "
                        "hold its configuration; the job can read it from its environment, where hardware.setup can export it."
                    )


def _texts(value: Any) -> Iterable[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]
