"""How fast the system is: `python -m benchmarks cpu | gpu | growth | kernels | compile | profile` (docs/performance.md)."""
