"""Which texts of examples are also in texts that a model was trained on, by n-grams and as near duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from llmkit.corpus.words import word_places
from llmkit.evidence.audit.near_duplicates import NearDuplicates
from llmkit.evidence.audit.ngrams import NGrams, Vocabulary
from llmkit.evidence.audit.sources import Source, normalized
from llmkit.system.progress import Progress
from llmkit.tasks.values import Array

GRAMS = (13, 8)
NEAR = "near duplicate"
PAIRS = 10  # kept of a source
_CONTEXT, _MOST = 60, 300  # characters of an excerpt: around what is shared, and in all


@dataclass(frozen=True)
class Pair:
    """A text of an example beside the text that it was found in, both cut to what they share.

    `words` is how many of its words are in 8-grams that were found, `similarity` that of a near duplicate or 0.
    """

    example: str
    content: str
    text: str
    found: str
    words: int
    of_words: int
    similarity: float

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Overlap:
    """What was found in a source. `touched` maps (found by, content) to a mask of the examples, [examples]."""

    touched: dict[tuple[str, str], Array]
    pairs: list[Pair]


def overlap(contents: Mapping[str, Sequence[str]], ids: Sequence[str], source: Source) -> Overlap:
    """Look for the `contents` of examples, texts by name, in the texts of a source, wherever they stand there.

    If examples have several texts, there is one more content, all of them: an example is touched there if each of its
    texts is, but for empty ones.
    """
    texts = list(dict.fromkeys(text for column in contents.values() for text in column))
    number_of = {text: number for number, text in enumerate(texts)}
    columns = {name: np.array([number_of[text] for text in column]) for name, column in contents.items()}
    words = [normalized(text) for text in source.as_read(texts)]
    grams, near = _look(words, source)
    found = {f"{index.n}-gram": index.touched for index in grams} | ({NEAR: near.touched} if near else {})
    empty = np.array([not text for text in words])
    touched = {
        (found_by, content): mask
        for found_by, of_texts in found.items()
        for content, mask in _by_content(columns, of_texts, empty).items()
    }
    owners: dict[int, tuple[str, str]] = {}
    for name, column in columns.items():
        for example, number in enumerate(column.tolist()):
            owners.setdefault(number, (ids[example], name))
    return Overlap(touched, _pairs(texts, words, owners, grams[-1], near, source))


def _look(words: Sequence[Sequence[str]], source: Source) -> tuple[list[NGrams], NearDuplicates | None]:
    """The indexes of our texts after a look at each batch of a source."""
    vocabulary = Vocabulary(words)
    ours = vocabulary.numbered(words)
    grams = [NGrams(ours, vocabulary, n) for n in GRAMS]
    near = NearDuplicates(words) if source.alike else None
    seen = 0
    with Progress("looking in") as progress:
        for batch in source.batches():
            theirs = [normalized(text) for text in batch]
            numbered = vocabulary.numbered(theirs)
            for index in grams:
                index.look_in(numbered, seen)
            if near:
                near.look_in(theirs, seen)
            seen += len(batch)
            progress({source.name: "", "": f"{seen:,} of {source.size:,} texts"}, seen / max(source.size, 1))
    return grams, near


def _by_content(columns: Mapping[str, Array], of_texts: Array, empty: Array) -> dict[str, Array]:
    """Whether each example is touched, by content; all contents together first, if there are several."""
    each = {name: of_texts[column] for name, column in columns.items()}
    if len(each) == 1:
        return each
    whole = np.logical_and.reduce([of_texts[column] | empty[column] for column in columns.values()])
    return {" and ".join(each): whole & np.logical_or.reduce(list(each.values())), **each}


def _pairs(
    texts: Sequence[str],
    words: Sequence[Sequence[str]],
    owners: Mapping[int, tuple[str, str]],
    grams: NGrams,
    near: NearDuplicates | None,
    source: Source,
) -> list[Pair]:
    """The texts that share most words with a text of the source, most first."""
    shared, sizes = grams.shared_words(), np.array([len(text) for text in words])
    similarity = near.similarity if near else np.zeros(len(texts))
    strength = np.maximum(shared, similarity * sizes)
    found = []
    for number in np.argsort(-strength, kind="stable")[:PAIRS].tolist():
        if strength[number] > 0:
            of_grams = grams.touched[number] and shared[number] >= similarity[number] * sizes[number]
            where = grams.found_in(number) if of_grams or near is None else int(near.found_in[number])
            other, (example, content) = source.text(where), owners[number]
            text, words_there = texts[number], normalized(other)
            found.append(
                Pair(
                    example,
                    content,
                    excerpt(text, words_there),
                    excerpt(other, words[number]),
                    int(shared[number]),
                    int(sizes[number]),
                    float(similarity[number]),
                )
            )
    return found


def excerpt(text: str, words: Sequence[str]) -> str:
    """The part of a text around the longest run of `words` in it, on one line."""
    places = [
        (start, end, word) for start, end in word_places(text, symbols=False) for word in normalized(text[start:end])
    ]
    match = SequenceMatcher(None, [word for *_, word in places], list(words), autojunk=False).find_longest_match()
    first, last = (places[match.a][0], places[match.a + match.size - 1][1]) if match.size else (0, 0)
    start = max(0, first - _CONTEXT)
    end = min(len(text), last + _CONTEXT, start + _MOST)
    return f"{'…' * (start > 0)}{' '.join(text[start:end].split())}{'…' * (end < len(text))}"
