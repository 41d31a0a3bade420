"""What a configuration chooses by name, and where its code is. A new thing of the project's own is one line here.

Names alone: nothing is imported until it is used, so composing a configuration needs no torch, and what is chosen may
import whatever lies below it in the order of imports, whoever chooses it.
"""

from prune.base.registry import Registry

DATASETS = Registry(
    "dataset.name",
    "prune.datasets",
    {
        "cifar10": "prune.data.cifar:CIFAR",
        "cifar100": "prune.data.cifar:CIFAR",
        "digits": "prune.data.digits:Digits",
        "digit_pairs": "prune.data.digits:DigitPairs",
        "image_folder": "prune.data.folder:ImageFolder",
    },
)

METHODS = Registry(
    "method.name",
    "prune.methods",
    {
        "dense": "prune.methods.dense:Dense",
        "phases": "prune.methods.phases:Phases",
        "refill": "prune.methods.refill:Refill",
        "rsst": "prune.methods.rsst:RSST",
        "scratch": "prune.methods.scratch:Scratch",
    },
)

CRITERIA = Registry(
    "method.criterion",
    "prune.criteria",
    {
        "magnitude": "prune.pruning.criteria.magnitude:Magnitude",
        "group_magnitude": "prune.pruning.criteria.magnitude:GroupMagnitude",
        "remaining": "prune.pruning.criteria.remaining:Remaining",
        "remaining_count": "prune.pruning.criteria.remaining:RemainingCount",
        "taylor": "prune.pruning.criteria.taylor:Taylor",
        "activation": "prune.pruning.criteria.activation:Activation",
        "random": "prune.pruning.criteria.random:Random",
        "tp_fpgm": "prune.pruning.criteria.torch_pruning:FPGM",
        "tp_hessian": "prune.pruning.criteria.torch_pruning:GroupHessian",
        "tp_lamp": "prune.pruning.criteria.torch_pruning:LAMP",
        "tp_magnitude": "prune.pruning.criteria.torch_pruning:GroupMagnitude",
        "tp_taylor": "prune.pruning.criteria.torch_pruning:GroupTaylor",
    },
)

ARCHITECTURES = Registry(
    "model.family",
    "prune.architectures",
    {
        "vit": "prune.architectures.vit:ViT",
        "swin": "prune.architectures.swin:Swin",
        "mamba": "prune.architectures.mamba:Mamba",
    },
)

ANALYSES = Registry(
    "--only",
    "prune.analyses",
    {
        "weights": "prune.analysis.weights:Weights",
        "errors": "prune.analysis.errors:Errors",
        "attention": "prune.analysis.attention:Attention",
        "similarity": "prune.analysis.similarity:Similarity",
        "redundancy": "prune.analysis.redundancy:Redundancy",
        "sensitivity": "prune.analysis.sensitivity:Sensitivity",
        "importance": "prune.analysis.importance:Importance",
    },
)
"""What `prune analyse` can measure of a finished run, in the order in which it does."""
