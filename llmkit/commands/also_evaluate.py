"""The corpora of `corpus.also_evaluate`: found and checked first, then tokenized for the run.

Token shards are evaluated on their held-out part. Of a source all text is evaluated, unless the run trains on the same
source: then the part that tokenizing holds out, which is the same in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    trained = read_manifest(corpus)["key"]
    evaluated = {}
    for name, source in found.items():
        with _problems_of(name):
            if isinstance(source, Path):
                folder, key = source, read_manifest(source)["key"]
                _also_trained_on(key, trained)
                splits = SPLITS[1:]
            else:
                prepared = prepare([source], TokenizerSection(path=str(corpus / "tokenizer")), None)
                key = prepared.key
                splits = SPLITS[1:] if _also_trained_on(key, trained) else SPLITS
                folder = tokenize(prepared)
            evaluated[name] = Evaluated(PackedBlocks(TokenShards(folder, *splits), size), key)
    return evaluated


def _also_trained_on(key: Mapping[str, Any], trained: Mapping[str, Any]) -> bool:
    """Whether the run trains on sources of a corpus, of which it then holds out the same part.

    Raises UserError if it trains on some of their files only: these may be what was held out here.
    """
    rules = key["rules"] == trained["rules"]
    same = [source for source in map(_unweighted, key["sources"]) if rules and source in _all(trained)]
    others = [source for source in map(_unweighted, key["sources"]) if source not in same]
    if any(_pieces(one) & _pieces(other) for one in others for other in _all(trained)):
        raise UserError(
            "the run trains on a part of this text",
            remedy="give text that it does not train on; or the same source as in its corpus, of which only the "
            "held-out part is evaluated",
        )
    return bool(same)


def _all(key: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_unweighted(source) for source in key["sources"]]


def _unweighted(source: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name != "weight"}


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
