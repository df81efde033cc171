"""Recipes: sections, keys, YAML and overrides. The recipes that ship with llmkit are in yaml/."""
