"""`llmkit tokenize`: text in, token shards out. One story, top to bottom."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.corpus.chunks import CHUNK_CHARACTERS, write_chunks
from llmkit.corpus.encoding import Encoder
from llmkit.corpus.shards import FORMAT, read_manifest, write_shards
from llmkit.corpus.sources import PART_BYTES, OpenSource, open_source
from llmkit.corpus.tokenizer import check_for_pretraining, load_tokenizer, tokenizer_fingerprint, train_tokenizer
from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.pretraining import Source, TokenizerSection
from llmkit.system.cache import built_once, cached_folder, fingerprint, has_manifest, say_what_differs, writing
from llmkit.system.console import count, duration, say
from llmkit.system.errors import UserError, differences
from llmkit.system.files import to_json, write_whole
from llmkit.system.processes import launched
from llmkit.system.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Prepared:
    """A corpus to be made: everything that a user can get wrong about it was looked at, but for the text itself.

    `key` decides what is in it; without a `tokenizer`, one is trained on it. `place` is the folder as the user
    called it, resolved: the one that "." meant is replaced.
    """

    folder: Path
    place: Path
    sources: Sequence[OpenSource]
    tokenizer: PreTrainedTokenizerFast | None
    settings: TokenizerSection
    key: dict[str, Any]
    in_cache: bool

    @property
    def is_made(self) -> bool:
        """Whether the corpus is there. Raises UserError where another one is in its place."""
        if not has_manifest(self.place):
            return False
        if told := differences(read_manifest(self.place)["key"], self.key):
            raise UserError(
                f"{self.folder} holds token shards made otherwise: {'; '.join(told)}",
                remedy="choose another folder with -o",
            )
        return True


def prepare(sources: Sequence[Source], settings: TokenizerSection, output: Path | None) -> Prepared:
    """Find the sources and the tokenizer, and the folder: without `output` one in the cache, named by what is in it.

    Raises UserError for what cannot be had, and where `output` holds something else. Writes nothing.
    """
    opened = [open_source(source) for source in sources]
    tokenizer = None
    if settings.path is not None:
        tokenizer = Checkpoint.named(settings.path).tokenizer()
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
    prepared = Prepared(folder, folder.resolve(), opened, tokenizer, settings, key, in_cache=output is None)
    if (
        not prepared.is_made
        and not prepared.in_cache
        and folder.exists()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise UserError(f"{folder} is in use and holds no token shards", remedy="choose another folder with -o")
    return prepared


def tokenize(prepared: Prepared) -> Path:
    """The folder of token shards, made unless it is there already.

    Every process that is told the same does its share: those of one launcher, and any others that come to the same
    folder. Raises UserError for text that cannot be read, and a place that cannot be written.
    """
    if not prepared.is_made:
        if prepared.in_cache:
            say_what_differs("corpora", prepared.key)
        with writing(prepared.folder):
            _make(prepared)
        assert prepared.is_made
    elif not launched():  # with several processes, it was said before they started
        say(f"tokenized already: {prepared.folder}")
    for work in _begun(prepared.place):  # on the way to this corpus, or to another one that was wanted here before
        shutil.rmtree(work, ignore_errors=True)  # another process may be at it, too
    return prepared.folder


def _make(prepared: Prepared) -> None:
    """Tokenize in a folder aside, with whoever else is at it; then make one corpus of what is there."""
    began = time.monotonic()
    place, sources, tokenizer = prepared.place, prepared.sources, prepared.tokenizer
    work = _begun_aside(prepared)
    progress = _Progress(sources)
    try:
        if tokenizer is None:
            tokenizer = _trained(work / "tokenizer", prepared)
        with progress.line:
            write_chunks(work, Encoder(tokenizer), sources, progress, lambda: has_manifest(place))

        def build(aside: Path) -> None:
            shutil.rmtree(aside)  # what is there is of one that was killed
            aside.mkdir()
            specs = [{**source.spec.model_dump(exclude_none=True), "content": source.content} for source in sources]
            about = {"key": prepared.key, "vocab_size": len(tokenizer), "sources": specs}
            write_shards(aside, tokenizer, work, about)

        built_once(place, build, is_whole=has_manifest, replace=prepared.in_cache)
    except (FileNotFoundError, UserError):
        if not has_manifest(place):  # else another process made the rest, and cleaned up, while this one read on
            raise
    manifest = read_manifest(place)
    documents, tokens = (sum(total[what] for total in manifest["totals"].values()) for what in ("documents", "tokens"))
    say(
        f"tokenized {documents:,} documents, {tokens:,} tokens, {manifest['bytes'] / 1e6:.1f} MB "
        f"in {duration(time.monotonic() - began)} ({progress.speed / 1e6:.1f} MB/s)"
    )


def _begun_aside(prepared: Prepared) -> Path:
    """The folder that all who make the same corpus work in, with what is made of it already."""
    place, key = prepared.place, prepared.key
    # What is inside depends on how text is cut, too.
    cut = fingerprint({**key, "chunk": CHUNK_CHARACTERS, "part": PART_BYTES})
    work = place.parent / f".{place.name}.{cut}.partial"
    for other in _begun(place):
        begun = other / "key.json"
        if other != work and begun.is_file():
            # A corrected file, say: what was made of the old text must not be mixed with that of the new one.
            told = differences(json.loads(begun.read_text(encoding="utf-8")), key)
            say(f"{prepared.folder} was begun otherwise, starting over: {'; '.join(told)}")
    work.mkdir(parents=True, exist_ok=True)
    write_whole(work / "key.json", to_json(key))
    return work


def _begun(place: Path) -> list[Path]:
    """All such folders for one place."""
    return list(place.parent.glob(f".{escape(place.name)}.{'[0-9a-f]' * 20}.partial"))


def _trained(folder: Path, prepared: Prepared) -> PreTrainedTokenizerFast:
    """The tokenizer trained on the corpus, by the first process that comes; the others wait for it."""

    def build(aside: Path) -> None:
        train_tokenizer(
            lambda: (document for source in prepared.sources for document in source.documents()),
            prepared.settings.size_to_train,
            lowercase=prepared.settings.lowercase,
        ).save_pretrained(aside)

    if not folder.is_dir():
        began = time.monotonic()
        say(f"training a WordPiece vocabulary of {prepared.settings.size_to_train:,}")
        built_once(folder, build, is_whole=lambda folder: folder.is_dir() or has_manifest(prepared.place))
        say(f"vocabulary: trained in {duration(time.monotonic() - began)}")
    return load_tokenizer(str(folder))


class _Progress:
    """Shows how far the corpus is, by the counts that it is called with.

    `speed` is in bytes a second, of all processes; what was there before does not count.
    """

    def __init__(self, sources: Sequence[OpenSource]) -> None:
        self.line = Progress("tokenizing")
        sizes = [source.size for source in sources]
        self._whole = sum(size for size in sizes if size) if all(sizes) else 0
        self._began = 0.0
        self._before: int | None = None
        self.speed = 0.0

    def __call__(self, counts: Mapping[str, int]) -> None:
        """Show the line."""
        if self._before is None:
            self._before, self._began = counts["bytes"], time.monotonic()
        self.speed = (counts["bytes"] - self._before) / max(time.monotonic() - self._began, 1e-9)
        parts = {
            "documents": f"{counts['documents']:,}",
            "tokens": count(counts["tokens"]),
            "": f"{self.speed / 1e6:.1f} MB/s",
        }
        if self._whole and self.speed:
            parts["left"] = duration(max(self._whole - counts["bytes"], 0) / self.speed)
        self.line(parts)
