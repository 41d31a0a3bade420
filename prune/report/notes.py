"""How to read the report: the definitions that stand at its end."""

from prune.report.anomalies import MARKED_NORM_RATIO, REMOVAL_POINTS
from prune.report.statistics import OUTLIER_POINTS, OUTLIER_SPREADS
from prune.report.tables.training import STABLE_POINTS

NOTES = (
    "Accuracy is top-1 in percent. Each state's model is the one of the epoch that was best on validation; test accuracy is "
    "only reported and chooses nothing.",
    "State 0 is dense and the same for all methods. Every later state has trained longer than the one before, so a pruned "
    "model is compared with the baseline in the same state, never with state 0 alone.",
    "Rate: the share of the units of each kind that the schedule has pruned since the start.",
    "mean ± std: over seeds, sample standard deviation (n − 1). One run has none. “(n = 2)” where fewer runs count than the "
    "configuration has.",
    "Differences are paired by seed. The interval in brackets is the two-sided 95 % confidence interval of the mean difference "
    "(Student's t), given from three seeds on. “Beyond seed noise”: it excludes zero.",
    "Runs are one group when their configurations differ in nothing but the seed; configurations that differ in anything that "
    "can change a number are named by those keys and never averaged together.",
    f"Anomalies: an accuracy is far outside its neighbours if it lies more than {OUTLIER_POINTS:g} points, and more than "
    f"{OUTLIER_SPREADS:g} robust standard deviations of the state-to-state differences, outside the range of the four nearest "
    f"states. Removal cost accuracy if validation fell by more than {REMOVAL_POINTS:g} points; units were not suppressed if "
    f"more than {100 * MARKED_NORM_RATIO:g} % of their norm was left. Flagged accuracies stay in the averages, marked †, and "
    "the mean without them is given.",
    f"Converged: the mean validation accuracy of the last window of epochs is within {STABLE_POINTS:g} points, or within the "
    "fluctuation, of the window before.",
)
