"""The pruning methods by name; one file each. A new one is a file here, a line below and a file in conf/method/."""

from prune.registry import Registry

METHODS = Registry(
    "method.name",
    "prune.methods",
    {
        "dense": "prune.methods.dense:Dense",
        "refill": "prune.methods.refill:Refill",
        "rsst": "prune.methods.rsst:RSST",
    },
)
