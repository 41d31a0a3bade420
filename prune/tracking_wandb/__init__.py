"""Weights & Biases: a live logger, a replay of what is on disk, and a saved view that compares runs.

metrics.jsonl and states.jsonl are the truth; everything here can be made again from them. `points` says what a run
looks like in W&B, once for the live logger and for the replay, so the two cannot differ.
"""
