"""Text and questions that are made up, in the sizes of Wikipedia and SQuAD: speed does not depend on what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
DOCUMENT = 550  # words of an article, on average
CONTEXT, QUESTION = 150, 12  # words of a passage and of a question, on average


def write_tokenizer(folder: Path, size: int) -> list[str]:
    """Write a tokenizer of `size` tokens, and return its words, each of which is one token."""
    from transformers import BertTokenizer

    words = [f"w{number}" for number in range(size - len(SPECIAL))]
    BertTokenizer(vocab={word: number for number, word in enumerate([*SPECIAL, *words])}).save_pretrained(folder)
    return words


def document_lengths(tokens: int, mean: int = DOCUMENT) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The numbers of words of documents with about `tokens` together: many short ones, some long."""
    spread = 0.9
    lengths = np.random.default_rng(0).lognormal(np.log(mean) - spread**2 / 2, spread, max(8, tokens // mean))
    return np.maximum(8, lengths.astype(np.int64))


def write_text(file: Path, words: list[str], tokens: int, mean: int) -> None:
    """Write documents of words, some of them far more frequent than others, so that there is something to learn."""
    random = np.random.default_rng(1)
    with file.open("w", encoding="utf-8") as out:
        for length in document_lengths(tokens, mean):
            out.write(json.dumps({"text": " ".join(_some(words, random, int(length)))}) + "\n")


def write_questions(file: Path, words: list[str], count: int, *, seed: int, context: int = CONTEXT) -> None:
    """Write `count` rows of SQuAD's form."""
    random = np.random.default_rng(seed)
    with file.open("w", encoding="utf-8") as out:
        for row in _questions(words, random, count, context):
            out.write(json.dumps(row) + "\n")


def _questions(words: list[str], random: np.random.Generator, count: int, context: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        passage = _some(words, random, max(8, int(random.normal(context, context / 3))))
        first = int(random.integers(len(passage) - 4))
        answer = " ".join(passage[first : first + int(random.integers(1, 4))])
        start = len(" ".join(passage[:first])) + (first > 0)
        yield {
            "id": str(number),
            "context": " ".join(passage),
            "question": " ".join(_some(words, random, QUESTION)),
            "answers": {"text": [answer], "answer_start": [start]},
        }


def _some(words: list[str], random: np.random.Generator, count: int) -> list[str]:
    """Words by Zipf's law."""
    numbers = np.minimum(random.zipf(1.3, count), len(words)) - 1
    return [words[number] for number in numbers]
