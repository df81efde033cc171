"""Everything that is independent of language models: errors, files, cache, Hub, processes, console."""
