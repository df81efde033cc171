"""`llmkit tokenize`: text in, token shards out. One story, top to bottom."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llmkit.cache import built_once, cached, cached_folder, has_manifest
from llmkit.console import Progress, count, duration, say
from llmkit.corpus.shards import FORMAT, read_manifest, write_manifest, write_shards
from llmkit.corpus.sources import OpenSource, open_source
from llmkit.corpus.vocabulary import (
    check_for_pretraining,
    load_tokenizer,
    save_tokenizer,
    tokenizer_fingerprint,
    train_tokenizer,
)
from llmkit.errors import UserError, differences
from llmkit.files import to_json, write_whole
from llmkit.processes import launched
from llmkit.recipe import Source, TokenizerSection


def tokenize(sources: Sequence[Source], settings: TokenizerSection, output: Path | None) -> Path:
    """The folder of token shards for these sources and this tokenizer, made unless it is there already.

    Without `output` the folder is in the cache, named by what is in it. Raises UserError for a source or
    tokenizer that cannot be had, and where `output` holds something else.
    """
    opened = [open_source(source) for source in sources]
    tokenizer = None
    if settings.path is not None:
        tokenizer = load_tokenizer(settings.path)
        check_for_pretraining(tokenizer, settings.path)
    key = {
        "format": FORMAT,
        "tokenizers": version("tokenizers"),
        "tokenizer": tokenizer_fingerprint(tokenizer)
        if tokenizer
        else {"train": settings.size_to_train, "lowercase": settings.lowercase},
        "sources": [
            {**source.content, "documents": source.spec.documents, "weight": source.spec.weight} for source in opened
        ],
    }
    folder = output or cached_folder("corpora", key)
    if has_manifest(folder):
        told = differences(read_manifest(folder)["key"], key)
        if not told:
            if not launched():  # with several processes, it was said before they started
                say(f"tokenized already: {folder}")
            return folder
        raise UserError(
            f"{folder} holds token shards made otherwise: {'; '.join(told)}",
            remedy="choose another folder with -o",
        )
    if output is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is in use and holds no token shards", remedy="choose another folder with -o")

    def build(aside: Path) -> None:
        begun = aside / "key.json"
        if begun.is_file() and (told := differences(json.loads(begun.read_text(encoding="utf-8")), key)):
            # A corrected file, say: shards of the old text must not be mixed with those of the new one.
            say(f"{folder} was begun otherwise, starting over: {'; '.join(told)}")
            shutil.rmtree(aside)
            aside.mkdir()
        write_whole(begun, to_json(key))
        chosen = tokenizer or _trained(aside, opened, settings)
        _write(aside, chosen, opened, key)
        begun.unlink()

    return built_once(output, build, is_whole=has_manifest) if output else cached("corpora", key, build)


def _trained(aside: Path, sources: Sequence[OpenSource], settings: TokenizerSection) -> Any:
    """The tokenizer trained on the corpus, or the one that a killed run had trained."""
    if (aside / "tokenizer").is_dir():
        return load_tokenizer(str(aside / "tokenizer"))
    say(f"training a WordPiece vocabulary of {settings.size_to_train:,}")
    began = time.monotonic()
    tokenizer = train_tokenizer(
        lambda: (document for source in sources for document in source.documents()),
        settings.size_to_train,
        lowercase=settings.lowercase,
    )
    say(f"vocabulary: {len(tokenizer):,} pieces in {duration(time.monotonic() - began)}")
    save_tokenizer(tokenizer, aside / "tokenizer")
    return tokenizer


def _write(aside: Path, tokenizer: Any, sources: Sequence[OpenSource], key: Mapping[str, Any]) -> None:
    began = time.monotonic()
    sizes = [source.size for source in sources]
    whole = sum(size for size in sizes if size) if all(sizes) else 0

    with Progress("tokenizing") as progress:

        def report(counts: Mapping[str, int]) -> None:
            seconds = time.monotonic() - began
            parts = {
                "documents": f"{counts['documents']:,}",
                "tokens": count(counts["tokens"]),
                "": f"{counts['bytes'] / 1e6 / seconds:.1f} MB/s",
            }
            if whole and counts["bytes"]:
                share = min(counts["bytes"] / whole, 1.0)
                parts["left"] = duration(seconds / share - seconds)
            progress(parts)

        records = write_shards(aside, tokenizer, sources, report)
    about = {
        "key": dict(key),
        "vocab_size": len(tokenizer),
        "sources": [{**source.spec.model_dump(exclude_none=True), "content": source.content} for source in sources],
    }
    documents = sum(record[split]["documents"] for record in records for split in ("train", "validation"))
    if not documents:
        raise UserError("the corpus holds no text", remedy="check the files and text_column")
    write_manifest(aside, tokenizer, records, about)
    seconds = time.monotonic() - began
    manifest = read_manifest(aside)
    tokens = sum(total["tokens"] for total in manifest["totals"].values())
    megabytes = manifest["bytes"] / 1e6
    say(
        f"tokenized {documents:,} documents, {tokens:,} tokens, {megabytes:.1f} MB "
        f"in {duration(seconds)} ({megabytes / seconds:.1f} MB/s)"
    )
