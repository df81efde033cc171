"""What a run is told: sections, YAML, overrides. The recipes that ship with llmkit are in yaml/."""
