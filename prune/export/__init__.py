"""Pruned models to take away: ONNX, latency."""
