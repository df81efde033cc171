"""Examples → features, once: the same examples, tokenizer and options find them again on disk."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.corpus.tokenizer import tokenizer_fingerprint
from llmkit.recipes.finetuning import DataSection
from llmkit.system.cache import cached
from llmkit.system.files import to_json, write_whole
from llmkit.tasks.base import Task
from llmkit.tasks.values import Codec

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 3  # of the folders that features are kept in


def features_of(task: Task[Any], examples: Dataset, codec: Codec, data: DataSection, *, training: bool) -> Dataset:
    """The task's features, memory-mapped from the cache; encoded now where they are not there yet."""
    from datasets import load_from_disk

    key = {
        "format": FORMAT,
        "code": _code_fingerprint(task),
        "tokenizer": tokenizer_fingerprint(codec.tokenizer),
        "targets": tokenizer_fingerprint(codec.target_tokenizer),
        "decoder_start": codec.decoder_start,
        "labels": codec.labels,
        "examples": examples_fingerprint(examples),
        "options": data.model_dump(exclude=set(data.origin())),  # what came from there is part of the key already
        "training": training,
    }

    def build(aside: Path) -> None:
        task.encode(examples, codec, data, training=training).save_to_disk(str(aside))
        write_whole(aside / "manifest.json", to_json({"key": key}))

    return load_from_disk(str(cached("features", key, build)))


def examples_fingerprint(examples: Dataset) -> str:
    """Hash of the content of examples."""
    columns: Mapping[str, Any] = examples.to_dict()
    return hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest()[:20]


def _code_fingerprint(task: Task[Any]) -> str:
    """Hash of the modules that encode, a task's own and those it builds on: what older code encoded is not found."""
    modules = dict.fromkeys(kind.__module__ for kind in type(task).__mro__ if kind.__module__.startswith("llmkit."))
    sources = "".join(inspect.getsource(sys.modules[module]) for module in modules)
    return hashlib.sha256(sources.encode()).hexdigest()[:20]
