"""Datasets, their splits and statistics, and the loaders that give batches."""
