"""The exceptions that reach a user."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right. Its text is one sentence that names the key, file or command to change."""


class TrainingFailed(UserError):
    """Training itself went wrong (a loss that is not finite): the run stops as failed and keeps its last good checkpoint."""


class Preempted(Exception):
    """The run was asked to stop (time limit, preemption, Ctrl-C), has saved its exact position, and leaves."""
