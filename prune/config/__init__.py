"""The configuration of a run: its schema, its cross-checks, and how it is read from Hydra."""

from prune.config.parse import parse
from prune.config.schema import RunConfig

__all__ = ["RunConfig", "parse"]
