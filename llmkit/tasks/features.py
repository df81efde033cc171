"""Examples → features, cached on disk by examples, tokenizer and options."""

from __future__ import annotations

import hashlib
import inspect
import json
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

FORMAT = 4  # of the cached folders


def features_of(task: Task[Any], examples: Dataset, codec: Codec, data: DataSection, *, training: bool) -> Dataset:
    """The task's features, memory-mapped from the cache. Encodes them first if they are not cached."""
    from datasets import load_from_disk

    key = {
        "format": FORMAT,
        "code": _code_fingerprint(task),
        "tokenizer": tokenizer_fingerprint(codec.tokenizer),
        "truncation_side": codec.tokenizer.truncation_side,
        "targets": tokenizer_fingerprint(codec.target_tokenizer),
        "decoder_start": codec.decoder_start,
        "labels": codec.labels,
        "standard": codec.standard,
        "examples": examples_fingerprint(examples),
        "options": data.model_dump(exclude=set(data.origin())),  # the examples themselves are in the key
        "training": training,
    }

    def build(aside: Path) -> None:
        task.encode(examples, codec, data, training=training).save_to_disk(str(aside))
        write_whole(aside / "manifest.json", to_json({"key": key}))

    return load_from_disk(str(cached("training-features" if training else "features", key, build)))


def examples_fingerprint(examples: Dataset) -> str:
    """Hash of the examples' content."""
    columns: Mapping[str, Any] = examples.to_dict()
    return hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest()[:20]


def _code_fingerprint(task: Task[Any]) -> str:
    """Hash of all code that makes features: tasks/, and the user's file if the task comes from one."""
    files = set(Path(__file__).parent.rglob("*.py"))
    files |= {
        Path(inspect.getfile(kind))
        for kind in type(task).__mro__
        if kind.__module__ not in ("abc", "builtins", "typing")
    }
    found = hashlib.sha256()
    for content in sorted(file.read_bytes() for file in files):
        found.update(content)
    return found.hexdigest()[:20]
