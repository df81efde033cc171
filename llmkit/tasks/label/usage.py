"""The model card's Python example for classification."""

from __future__ import annotations

from llmkit.tasks.values import Published


def usage_example(model: Published) -> str:
    """See Task."""
    number = len(model.config.get("id2label", ())) == 1  # a regression model
    raw = ', function_to_apply="none"' if number else ""
    if model.config.get("problem_type") == "multi_label_classification":
        raw = ", top_k=None"  # all labels, each with a probability of its own
    return f'''from transformers import pipeline

classify = pipeline("text-classification", model="{model.name}")  # or a folder with its files
text = "A text."  # for a pair of texts: {{"text": "The first.", "text_pair": "The second."}}
print(classify(text, truncation=True, max_length={model.data["max_length"]}{raw}))'''
