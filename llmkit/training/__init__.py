"""transformers' Trainer with our batches, schedule, evaluation, checkpoints, signal handling and logging."""
