"""Families of models: one file each says how to build it, where its units are and what they cost."""
