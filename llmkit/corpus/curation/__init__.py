"""Filter, deduplicate and decontaminate a corpus with datatrove."""
