"""Texts as vectors: sentence models, and how similar texts are."""
