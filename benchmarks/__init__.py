"""How fast the system is: `python -m benchmarks cpu | gpu | growth | kernels | profile` (docs/performance.md)."""
