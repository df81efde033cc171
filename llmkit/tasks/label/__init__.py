"""A label of a text, or a number."""
