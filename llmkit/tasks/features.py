"""Examples → features, cached on disk by examples, tokenizer and options."""

from __future__ import annotations

import hashlib
import inspect
import json
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
HASHED_AT_ONCE = 1000  # examples


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
    """Hash of the examples' content: of the JSON of all columns by name, made piece by piece."""
    encoder = json.JSONEncoder(sort_keys=True)
    found = hashlib.sha256()
    for number, name in enumerate(sorted(examples.column_names)):
        found.update(f"{', ' if number else '{'}{json.dumps(name)}: [".encode())
        separator = ""
        for table in examples.select_columns(name).with_format("arrow").iter(HASHED_AT_ONCE):
            found.update((separator + encoder.encode(table[name].to_pylist())[1:-1]).encode())
            separator = ", "
        found.update(b"]")
    found.update(b"}")
    return found.hexdigest()[:20]


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
