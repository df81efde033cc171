"""What knows nothing of language models: errors, files, the cache, the Hub, processes, the console."""
