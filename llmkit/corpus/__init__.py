"""Text → token shards → masked blocks."""
