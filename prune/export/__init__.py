"""Pruned models to take away: the manifest beside them, loading, ONNX, latency."""
