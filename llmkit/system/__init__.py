"""Files, cache, Hub, processes, console, errors. Nothing here knows of language models."""
