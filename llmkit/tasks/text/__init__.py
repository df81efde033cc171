"""Text generation: translation, summarization, semantic parsing."""
