"""How to read the report: the definitions that stand at its end."""

from prune.report.anomalies import MARKED_NORM_RATIO, REMOVAL_POINTS
from prune.report.statistics import OUTLIER_POINTS, OUTLIER_SPREADS
from prune.report.tables.training import STABLE_POINTS

NOTES = (
    "Accuracy is top-1 in percent. Each state's model is the one of the epoch that was best on validation; test accuracy is "
    "only reported and chooses nothing.",
    "State 0 is dense and the same for all methods that do not act in it.",
    "Training is counted, not assumed: tables that compare give the epochs since the weights were last rewound (or since the "
    "run began; what a rewind point itself was trained for is not in it) and the training FLOPs of the run by then, in closed "
    "form, three forward passes a step at the model's size at the time. Where epochs differ, a difference is one of method and "
    "training together. A run that rewinds is compared with a dense run that rewinds to the same point, where there is one, "
    "and with its own state 0.",
    "Pruned: the share of the units of each kind (or of all parameters) that is gone since the start, as counted. The "
    "schedule's rate stands beside it where it is something else; where it is one of the whole model's parameters or MACs it "
    "says so.",
    "mean ± std: over seeds, sample standard deviation (n − 1). One run has none. “(n = 2)” where fewer runs count than the "
    "configuration has.",
    "Differences are paired by seed and by test image. The interval in brackets is the two-sided 95 % confidence interval of "
    "that one mean difference, given from three seeds on: its half-width is the root of the sum of squares of two, of "
    "Student's t interval over seeds and of that over test images; it is never narrower than one image. “Beyond noise”: Holm's "
    "p-value, over all differences that the page judges, is at most 0.05. docs/report.md has the formulas and their sources.",
    "Runs are one group when their configurations differ in nothing but the seed; configurations that differ in anything that "
    "can change a number are named by those keys and never averaged together.",
    f"Anomalies: a validation accuracy is far outside its neighbours if it lies more than {OUTLIER_POINTS:g} points, and more "
    f"than {OUTLIER_SPREADS:g} robust standard deviations of the state-to-state differences, outside the range of the four "
    f"nearest states. Removal cost accuracy if validation fell by more than {REMOVAL_POINTS:g} points; units were not "
    f"suppressed if more than {100 * MARKED_NORM_RATIO:g} % of their norm was left. What is so flagged stays in the averages, "
    "marked †, and the mean without it is given.",
    f"Converged: the mean validation accuracy of the last window of epochs is within {STABLE_POINTS:g} points, or within the "
    "fluctuation, of the window before.",
)
