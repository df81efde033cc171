"""A span of a passage: extractive question answering."""
