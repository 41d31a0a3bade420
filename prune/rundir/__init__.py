"""A run's directory: its paths and files, its identity, its checkpoints and models, its lock and its status."""
