"""`llmkit tokenize`: turn text into token shards."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.corpus.chunks import CHUNK_CHARACTERS, write_chunks
from llmkit.corpus.encoding import Encoder
from llmkit.corpus.shards import FORMAT, read_manifest, write_shards
from llmkit.corpus.sources import PART_BYTES, OpenSource, open_source
from llmkit.corpus.tokenizer import check_for_pretraining, load_tokenizer, tokenizer_fingerprint
from llmkit.corpus.unknown import unknown_texts
from llmkit.corpus.vocabularies import NAMES, train_tokenizer
from llmkit.models.checkpoint import Checkpoint
from llmkit.recipes.corpus import Source, TokenizerSection
from llmkit.system.cache import built_once, cached_folder, fingerprint, has_manifest, say_what_differs, writing
from llmkit.system.console import count, duration, is_main, say, warn
from llmkit.system.errors import UserError, differences
from llmkit.system.files import to_json, write_whole
from llmkit.system.processes import launched
from llmkit.system.progress import Progress, Rate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

RULES = 2  # changes when the same inputs make other shards. 2: alphabets beyond 1,000 characters, ends held out
MANY_UNKNOWN = 0.01  # of the tokens: more [UNK] than this is worth a warning


@dataclass(frozen=True)
class Prepared:
    """A corpus to build, with all inputs checked except the text itself.

    `key` determines its content. `tokenizer` is None if one is to be trained on the corpus. `folder` is as the user
    gave it; `path` is absolute, because building replaces the folder, and "." would still refer to the old one.
    """

    folder: Path
    path: Path
    sources: Sequence[OpenSource]
    tokenizer: PreTrainedTokenizerFast | None
    settings: TokenizerSection
    key: dict[str, Any]
    in_cache: bool

    def documents(self) -> Iterator[str]:
        """Yield the documents of all sources."""
        for source in self.sources:
            yield from source.documents()

    @property
    def is_made(self) -> bool:
        """Whether the corpus exists. Raises UserError if the folder holds a different corpus."""
        if not has_manifest(self.path):
            return False
        if changes := differences(read_manifest(self.path)["key"], self.key):
            raise UserError(
                f"{self.folder} holds token shards made from other inputs: {'; '.join(changes)}",
                remedy="choose another folder with -o",
            )
        return True


def prepare(sources: Sequence[Source | OpenSource], settings: TokenizerSection, output: Path | None) -> Prepared:
    """Find the sources, the tokenizer and the folder, which is in the cache if `output` is None. Writes nothing.

    Sources that were found before are not looked for again.

    Raises UserError if a source or the tokenizer cannot be found, or if `output` holds something else.
    """
    opened = [source if isinstance(source, OpenSource) else open_source(source) for source in sources]
    tokenizer = None
    if settings.path is not None:
        tokenizer = Checkpoint.named(settings.path).tokenizer()
        check_for_pretraining(tokenizer, settings.path)
    key = {
        "format": FORMAT,
        "rules": RULES,
        "tokenizers": version("tokenizers"),
        "tokenizer": tokenizer_fingerprint(tokenizer)
        if tokenizer
        else {
            "train": settings.size_to_train,
            "lowercase": settings.lowercase,
            "type": settings.type,
            **({"sentencepiece": version("sentencepiece")} if settings.type == "unigram" else {}),
        },
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
    """Build the corpus unless it exists. Returns its folder.

    All processes with the same inputs and folder share the work, whether one launcher started them or not. Raises
    UserError if text cannot be read or the folder cannot be written.
    """
    if not prepared.is_made:
        if prepared.in_cache:
            say_what_differs("corpora", prepared.key)
        with writing(prepared.folder):
            _build(prepared)
        assert prepared.is_made
    elif not launched():  # a launched process does not repeat what its parent said
        say(f"already tokenized: {prepared.folder}")
    for work in _work_folders(prepared.path):  # of this corpus, and of unfinished ones with other inputs
        shutil.rmtree(work, ignore_errors=True)  # another process may be removing it
    return prepared.folder


def _build(prepared: Prepared) -> None:
    """Tokenize into a work folder, together with other processes. Then one process builds the corpus from it."""
    start = time.monotonic()
    path, sources, tokenizer = prepared.path, prepared.sources, prepared.tokenizer
    work = _open_work_folder(prepared)
    progress = _Progress(sources)
    try:
        if tokenizer is None:
            tokenizer = _train_once(work / "tokenizer", prepared)
        with progress.line:
            write_chunks(work, Encoder(tokenizer), sources, progress, lambda: has_manifest(path))

        def build(partial: Path) -> None:
            shutil.rmtree(partial)  # may hold files of a killed process
            partial.mkdir()
            specs = [{**source.spec.model_dump(exclude_none=True), "content": source.content} for source in sources]
            about = {"key": prepared.key, "vocab_size": len(tokenizer), "sources": specs}
            write_shards(partial, tokenizer, work, about)

        built_once(path, build, is_whole=has_manifest, replace=prepared.in_cache)
    except (FileNotFoundError, UserError):
        if not has_manifest(path):  # if it exists, another process finished it and removed the work folder
            raise
    manifest = read_manifest(path)
    unknown = manifest["unknown"] / manifest["tokens"]
    say(
        f"tokenized {manifest['documents']:,} documents, {manifest['tokens']:,} tokens ({unknown:.2%} [UNK]), "
        f"{manifest['bytes'] / 1e6:.1f} MB in {duration(time.monotonic() - start)} ({progress.speed / 1e6:.1f} MB/s)"
    )
    if unknown > MANY_UNKNOWN and tokenizer and is_main():
        examples = ", ".join(unknown_texts(tokenizer, prepared.documents()))
        cure = (
            "leave tokenizer.path out to train a tokenizer on this text"
            if prepared.settings.path
            else "set tokenizer.type=unigram or tokenizer.type=bpe, or a larger tokenizer.vocab_size"
        )
        warn(f"{unknown:.1%} of the tokens are [UNK]: the vocabulary lacks {examples}, for instance; {cure}")


def _open_work_folder(prepared: Prepared) -> Path:
    """The folder in which all processes that build the same corpus work. It may hold finished chunks."""
    path, key = prepared.path, prepared.key
    # The sizes of chunks and parts determine the content of the folder, too.
    name = fingerprint({**key, "chunk": CHUNK_CHARACTERS, "part": PART_BYTES})
    work = path.parent / f".{path.name}.{name}.partial"
    for other in _work_folders(path):
        key_file = other / "key.json"
        if other != work and key_file.is_file():
            # For example, a source file was corrected. Chunks of the old and the new text must not be mixed.
            changes = differences(json.loads(key_file.read_text(encoding="utf-8")), key)
            say(f"{prepared.folder} was started with other inputs, starting over: {'; '.join(changes)}")
    work.mkdir(parents=True, exist_ok=True)
    write_whole(work / "key.json", to_json(key))
    return work


def _work_folders(path: Path) -> list[Path]:
    """All work folders of a corpus at this path, whatever their inputs."""
    return list(path.parent.glob(f".{escape(path.name)}.{'[0-9a-f]' * 20}.partial"))


def _train_once(folder: Path, prepared: Prepared) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the corpus. The first process trains it, the others wait for it."""

    def build(partial: Path) -> None:
        train_tokenizer(
            prepared.documents,
            prepared.settings.size_to_train,
            lowercase=prepared.settings.lowercase,
            kind=prepared.settings.type,
        ).save_pretrained(partial)

    if not folder.is_dir():
        start = time.monotonic()
        settings = prepared.settings
        say(f"training a {NAMES[settings.type]} vocabulary of {settings.size_to_train:,} tokens")
        built_once(folder, build, is_whole=lambda folder: folder.is_dir() or has_manifest(prepared.path))
        say(f"trained the vocabulary in {duration(time.monotonic() - start)}")
    return load_tokenizer(str(folder))


class _Progress:
    """Shows the progress of tokenizing, from the counts that it is called with.

    `speed` is in bytes per second since the start, over all processes. The first counts, of existing chunks, are not
    part of it.
    """

    def __init__(self, sources: Sequence[OpenSource]) -> None:
        self.line = Progress("tokenizing")
        sizes = [source.size for source in sources]
        self._total = sum(size for size in sizes if size) if all(sizes) else 0
        self._start, self._first, self._done = 0.0, 0, -1
        self._rate = Rate()
        self.speed = 0.0

    def __call__(self, counts: Mapping[str, int]) -> None:
        """Show how far it is."""
        size = counts["bytes"]
        share = min(size / self._total, 1.0) if self._total else None
        if self._done < 0:
            self._first, self._start, self._done, self._rate = size, time.monotonic(), size, Rate()
            self.line.begin(share or 0.0)
        self._rate.add(size - self._done)
        self._done = size
        self.speed = (size - self._first) / max(time.monotonic() - self._start, 1e-9)
        parts = {
            "documents": f"{counts['documents']:,}",
            "tokens": count(counts["tokens"]),
            "": f"{self._rate.per_second / 1e6:.1f} MB/s",
        }
        self.line(parts, share)
