"""Sweeps: what there is to do, sent to SLURM or to processes on this machine, and watched. Nothing here imports torch."""
