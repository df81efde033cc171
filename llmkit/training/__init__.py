"""transformers' Trainer with our batches, schedule, checkpoints and signals. It also logs and resumes."""
