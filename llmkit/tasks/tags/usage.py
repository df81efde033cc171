"""The model card's Python example for tagging."""

from __future__ import annotations

from llmkit.tasks.tags.entities import Reader, entities, runs
from llmkit.tasks.values import Published


def usage_example(model: Published, read: Reader) -> str:
    """See Task. transformers joins tokens to entities if it knows the scheme: B- and I-, or plain types."""
    labels = model.config.get("id2label", {}).values()
    joins = read is runs or (read is entities and all(label[:2] in ("O", "B-", "I-") for label in labels))
    kind = "entity_group" if joins else "entity"
    strategy = ', aggregation_strategy="first"' if joins else ""
    return f'''from transformers import pipeline

tag = pipeline("token-classification", model="{model.name}"{strategy})  # or a folder with its files
text = "Tom Reed founded Ambury in 1820."
for found in tag(text):
    start, end = found["start"], found["end"]
    print(found["{kind}"], text[start:end], start, end, round(float(found["score"]), 3))'''
