"""The criteria: one non-negative score for each alive unit. One file each idea; by name in prune/base/registries.py."""
