"""Text → token shards → training blocks."""
