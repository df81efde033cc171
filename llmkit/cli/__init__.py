"""Flags in, one call out. Nothing heavy is imported before a command runs."""
