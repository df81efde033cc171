"""Two recipes that are never run, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.recipes.reading import read_recipe
from llmkit.recipes.section import Section
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS

PRETRAIN = """\
# A recipe for tests. It is never run.
name: small
corpus:
  sources: [demo]
  tokenizer: {vocab_size: 2000}
  block_size: 64
model:
  config: {hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2}
train:
  max_steps: 20
  learning_rate: 1.0e-3
"""
FINETUNE = """\
name: small
task: squad
model: {pretrained: runs/small}
data: {path: demo, max_length: 128, doc_stride: 32}
train: {max_steps: 20}
"""


def problems(kind: type[Section], path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        read_recipe(kind, str(path), overrides, tasks=TASKS)
    assert caught.value.remedy
    return caught.value.problems


def only_problem(kind: type[Section], path: Path, *overrides: str) -> str:
    (problem,) = problems(kind, path, *overrides)
    return problem


def pretrain_with(path: Path, old: str, new: str) -> Path:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path
