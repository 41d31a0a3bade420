"""Hydra launchers of this project. Hydra finds them because this folder lies in the `hydra_plugins` namespace."""
