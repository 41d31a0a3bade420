"""Pruned models to take away: loading, ONNX, latency."""
