"""A text made of another: translation, summarization, semantic parsing."""
