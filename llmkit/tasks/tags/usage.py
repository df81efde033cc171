"""The model card's Python example for tagging."""

from __future__ import annotations

from llmkit.tasks.values import Published


def usage_example(model: Published) -> str:
    """See Task."""
    return f'''from transformers import pipeline

tag = pipeline("token-classification", model="{model.name}")  # or a folder with its files
for found in tag("Tom Reed founded Ambury in 1820."):
    print(found["word"], found["entity"], round(float(found["score"]), 3))'''
