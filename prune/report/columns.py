"""The columns of a study's data frames: one name each, used by tables, figures and sentences."""

from __future__ import annotations

ACCURACY = "test_accuracy_best"
"""The accuracy that tables and figures compare: on test, of the epoch that was best on validation."""

CHOOSING = "val_accuracy_best"
"""The accuracy by which anything is chosen or flagged: on validation."""

STATE_COLUMNS = (
    "rate", "parameters", "macs", "val_accuracy_pruned", "val_accuracy_before_removal", "val_accuracy_after_removal",
    "marked_norm_ratio", "best_epoch", "val_accuracy_best", "val_accuracy_final", "test_accuracy_best", "test_accuracy_final",
    "test_top5_best", "test_top5_final", "epochs_since_rewind", "training_flops", "seconds",
)  # fmt: skip
"""What every line of states.jsonl has, beside the units kept and what a method records of its own (`state_columns`)."""

ABOUT_COLUMNS = ("run", "dataset", "method", "variant", "seed", "directory", "state", "epoch", "flagged")
"""What else a row of `Study.states` or of its CSV has: a method's own column of such a name is called `recorded.…`."""

PRUNED_PARAMETERS = "pruned.parameters"
"""The column of `Study.states` with the fraction of all parameters that is gone."""

PRUNED_MACS = "pruned.macs"
"""The same of the multiply-accumulates of one image."""

EPOCH_COLUMNS = (
    "lr", "penalty", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "parameters", "seconds", "images_per_second",
)  # fmt: skip


def kept_column(kind: str) -> str:
    """The column of `Study.states` that counts the units kept of a kind."""
    return f"kept.{kind}"


def pruned_column(kind: str) -> str:
    """The column of `Study.states` with the fraction of a kind's units that is gone."""
    return f"pruned.{kind}"
