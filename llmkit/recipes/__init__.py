"""Recipes: their sections and keys, how YAML and overrides are read, and the recipes that ship with llmkit."""
