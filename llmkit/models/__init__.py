"""A checkpoint, its heads, and what goes through it."""
