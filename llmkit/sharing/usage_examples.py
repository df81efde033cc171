"""Usage examples for a model card: with transformers alone, and with llmkit.

Readers paste them unchanged, so they must run.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

import yaml

from llmkit.corpus.tokenizer import DECODER_TOKENIZER
from llmkit.sharing.card_facts import Facts
from llmkit.tasks.values import Published

NAME = "NAMESPACE/NAME"  # stands for the repository's name in a card, until `llmkit push` fills it in
OUTPUT = "predictions.jsonl"


def pipeline_tag(facts: Facts) -> str | None:
    """The Hub's name for what the model does."""
    return facts.task.pipeline_tag if facts.task else "fill-mask"


def with_transformers(facts: Facts) -> str:
    """Python code that uses the model with transformers alone."""
    if not facts.task:
        return _fill_mask()
    decoder = (facts.model / DECODER_TOKENIZER).is_dir()
    return facts.task.usage_example(Published(NAME, facts.config, facts.data, facts.null_threshold, decoder))


def with_llmkit(facts: Facts) -> str:
    """Shell commands that use the model with llmkit."""
    if not facts.task:
        # 384 tokens is the default length of a window.
        fits = facts.positions is None or facts.positions >= 384
        windows = "" if fits else f" data.max_length={facts.positions} data.doc_stride={(facts.positions or 0) // 3}"
        return f"llmkit finetune --task squad model.pretrained={NAME}{windows}"
    # The model keeps how its data is read, but not where the data is.
    score = ["llmkit", "eval", NAME, "--data", facts.data_on_hub or "FILE"]
    if facts.data_on_hub:
        score += [_override(f"data.{key}", facts.data[key]) for key in ("name", "revision") if key in facts.data]
    data = facts.task.data_class
    score += [
        _override(f"data.{key}", facts.data[key]) for key in sorted(data.places() - data.origin()) if key in facts.data
    ]
    own = f" --tasks {shlex.quote(facts.tasks_file)}" if facts.tasks_file else ""
    return f"{shlex.join(score)}{own}\n{facts.task.usage_command(NAME, OUTPUT)}{own}"


def _fill_mask() -> str:
    return f'''from transformers import pipeline

fill = pipeline("fill-mask", model="{NAME}")  # or a folder that holds its files
for found in fill(f"The {{fill.tokenizer.mask_token}} is old."):
    print(round(found["score"], 3), found["sequence"])'''


def _override(key: str, value: Any) -> str:
    """A key and its value as an override. Quotes a string that YAML would read as something else."""
    plain = not isinstance(value, str) or yaml.safe_load(value) == value
    return f"{key}={value if plain else json.dumps(value)}"
