"""The datasets by name. A new one is a class with `Options` and `load`, a line below and a file in conf/dataset/."""

from prune.registry import Registry

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
