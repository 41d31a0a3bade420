"""The pruning methods, one file each. A new one: a file here, a line in prune/base/registries.py, a file in conf/method/."""
