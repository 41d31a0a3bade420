"""A run's directory: its paths and files, its identity, its checkpoints, its lock and its status."""
