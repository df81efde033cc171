"""Checkpoints, padding, masked LM, ONNX graphs. Nothing here knows a task."""
