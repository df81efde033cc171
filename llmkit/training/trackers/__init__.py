"""Trackers: TensorBoard, Weights & Biases, MLflow and trackio, told by transformers' own callbacks.

A tracker mirrors log.jsonl. What is sent are its rows, as they are, so every number is there under the same step. A run
that is resumed cuts its log back to the checkpoint, and the tracker follows as well as it can: TensorBoard, trackio on
this machine and W&B offline take back what was cut. A server takes nothing back, so the steps that a resumed run
repeats are not sent again.
"""
