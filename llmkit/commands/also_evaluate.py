"""The corpora of `corpus.also_evaluate`: found and checked first, then tokenized for the run.

Token shards are evaluated on their held-out part, and so is a source that the run trains on. Of another source all text
is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.commands.tokenize import prepare, tokenize
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.shards import SPLITS, TokenShards, read_manifest
from llmkit.corpus.sources import OpenSource, open_source
from llmkit.corpus.tokenizer import load_tokenizer, tokenizer_fingerprint
from llmkit.recipes.corpus import CorpusSection, Source, TokenizerSection
from llmkit.system.cache import has_manifest
from llmkit.system.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

HELD_OUT = "validation"
Found = Mapping[str, OpenSource | Path]  # by name; a path is that of token shards


@dataclass(frozen=True)
class Evaluated:
    """A corpus to evaluate on: its blocks, and the `key` of its token shards, which determines their content."""

    blocks: PackedBlocks
    key: dict[str, Any]


def find(section: CorpusSection) -> Found:
    """Find the corpora. Raises UserError if there is no such corpus; writes nothing."""
    found: dict[str, OpenSource | Path] = {}
    for name, source in section.also_evaluate.items():
        with _problems_of(name):
            shards = Path(source.path).expanduser()
            found[name] = _only_path(source, shards) if has_manifest(shards) else open_source(source)
    return found


def check_tokenizers(found: Found, tokenizer: PreTrainedTokenizerFast) -> None:
    """Raises UserError for token shards of another tokenizer than the run's: their ids are other words."""
    for name, corpus in found.items():
        if isinstance(corpus, Path):
            with _problems_of(name):
                read_manifest(corpus)
                other = load_tokenizer(str(corpus / "tokenizer"))
                if tokenizer_fingerprint(other) != tokenizer_fingerprint(tokenizer):
                    raise UserError(
                        f"{corpus} was tokenized with another tokenizer than the run's corpus",
                        remedy="give its text instead, which is then tokenized for the run; or tokenize it with "
                        "tokenizer.path=CORPUS/tokenizer, where CORPUS is the folder of the run's token shards",
                    )


def tokenized(found: Found, corpus: Path, size: int) -> dict[str, Evaluated]:
    """Tokenize what is not yet tokenized, with the tokenizer of `corpus`, the run's token shards. `size`: of a block.

    Raises UserError if a corpus does not fill a block, or if the run trains on a part of it.
    """
    evaluated = {}
    for name, source in found.items():
        with _problems_of(name):
            evaluated[name] = (
                _of_shards(source, corpus, size) if isinstance(source, Path) else _of(source, corpus, size)
            )
    return evaluated


def _of_shards(shards: Path, corpus: Path, size: int) -> Evaluated:
    key, trained = read_manifest(shards)["key"], read_manifest(corpus)["key"]
    own = _contents(trained) if key["rules"] == trained["rules"] else []  # what is held out of these is the same
    _check_apart([content for content in _contents(key) if content not in own], trained)
    return Evaluated(_blocks(TokenShards(shards, HELD_OUT), size), key)


def _of(source: OpenSource, corpus: Path, size: int) -> Evaluated:
    trained = read_manifest(corpus)["key"]
    prepared = prepare([source], TokenizerSection(path=str(corpus / "tokenizer")), None)
    contents, own = _contents(prepared.key), _contents(trained)
    if contents[0] in own:
        number = own.index(contents[0])
        held_out = TokenShards(corpus, HELD_OUT, source=number)
        return Evaluated(_blocks(held_out, size), {**trained, "sources": [trained["sources"][number]]})
    _check_apart(contents, trained)
    return Evaluated(_blocks(TokenShards(tokenize(prepared), *SPLITS), size), prepared.key)


def _blocks(shards: TokenShards, size: int) -> PackedBlocks:
    """Blocks with each document once: a weight says what to train on."""
    shards.weights = np.ones(len(shards))
    return PackedBlocks(shards, size)


def _check_apart(contents: list[dict[str, Any]], trained: Mapping[str, Any]) -> None:
    """Raises UserError if the run trains on some files of these sources: they may be what was held out here."""
    if any(_pieces(one) & _pieces(other) for one in contents for other in _contents(trained)):
        raise UserError(
            "the run trains on a part of this text",
            remedy="give text that it does not train on; or the same source as in its corpus, of which only the "
            "held-out part is evaluated",
        )


def _contents(key: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sources in the key of token shards, without their weights."""
    return [{name: value for name, value in source.items() if name != "weight"} for source in key["sources"]]


def _pieces(source: Mapping[str, Any]) -> set[Any]:
    """What two sources may have in common: files, by their content, or a split of a data set."""
    if "files" in source:
        return {content for _, content in source["files"]}
    return {"demo"} if "demo" in source else {(source["path"], source["name"], source["split"])}


def _only_path(source: Source, shards: Path) -> Path:
    """Raises UserError for keys that say how to read text, which token shards are not."""
    if given := sorted(source.model_dump(exclude_defaults=True).keys() - {"path"}):
        raise UserError(f"{source.path}: {', '.join(given)} has no effect on token shards", remedy="leave it out")
    return shards


@contextmanager
def _problems_of(name: str) -> Iterator[None]:
    """Name the key in the problems of a corpus."""
    try:
        yield
    except UserError as error:
        problems = (f"corpus.also_evaluate.{name}: {problem}" for problem in error.problems)
        raise UserError(*problems, remedy=error.remedy) from error
