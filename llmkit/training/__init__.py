"""transformers' Trainer with our batches, schedule, checkpoints, signal handling and reports."""
