"""From text to token shards, and from these to training blocks."""
