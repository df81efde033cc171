"""Checkpoints, masked-LM pretraining, attention over packed documents, batches and ONNX."""
