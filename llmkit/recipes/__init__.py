"""What a run is told: typed sections, the reading of YAML and overrides, and the recipes that come with llmkit."""
