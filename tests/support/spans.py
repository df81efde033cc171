"""Questions on passages, and the predictions of a model that knows their answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import regex
from datasets import Dataset

from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.values import Codec, Prediction

LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789.,;:!?-'()é"]
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    "the",
    "ship",
    "##s",
]


def example(context: str, question: str, *answers: tuple[str, int], id: str = "q") -> dict[str, Any]:
    texts, starts = [text for text, _ in answers], [start for _, start in answers]
    return {"id": id, "context": context, "question": question, "answers": {"text": texts, "answer_start": starts}}


def places_read(text: str, offsets: Sequence[Sequence[int]]) -> list[tuple[int, int] | None]:
    """Each token's place, worked out character by character; None if it has none.

    The smallest span of whole grapheme clusters that has all of the token's characters but white space.
    """
    cluster = {}
    for word in re.finditer(r"[^\s\u200b\u2060\ufeff]+", text):
        for found in regex.finditer(r"\X", word.group()):
            for character in range(*found.span()):
                cluster[word.start() + character] = (word.start() + found.start(), word.start() + found.end())
    places = []
    for start, end in offsets:
        touched = [cluster[character] for character in range(start, end) if character in cluster]
        places.append((touched[0][0], touched[-1][1]) if touched else None)
    return places


def reachable_answers(examples: Dataset, tokenizer: Any, longest: int) -> list[list[dict[str, Any]]]:
    """Per example, those of its answers that a span of tokens can be: whole tokens, and at most `longest` of them."""
    contexts = list(dict.fromkeys(examples["context"]))
    encoded = tokenizer(contexts, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    ends_of = {}
    for context, offsets in zip(contexts, encoded, strict=True):
        places = [(n, place) for n, place in enumerate(places_read(context, offsets)) if place]
        starts = {start: number for number, (start, _) in reversed(places)}
        ends = {end: number for number, (_, end) in places}
        ends_of[context] = (starts, ends)
    found = []
    for context, answers in zip(examples["context"], examples["answers"], strict=True):
        starts, ends = ends_of[context]
        found.append([])
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            first, last = starts.get(start), ends.get(start + len(text))
            if first is not None and last is not None and 0 <= last - first < longest:
                found[-1].append({"text": [text], "answer_start": [start]})
    return found


def knowing(features: Dataset, targets: Dataset) -> list[dict[str, Any]]:
    """The outputs of a model that knows the targets: logits of 10 there, and of -10 elsewhere."""
    outputs = []
    for length, start, end in zip(
        features["length"], targets["start_positions"], targets["end_positions"], strict=True
    ):
        logits = np.full((2, length), -10.0, np.float32)
        logits[0, start] = logits[1, end] = 10.0
        outputs.append({"start_logits": logits[0], "end_logits": logits[1]})
    return outputs


def oracle(task: Any, examples: Dataset, tokenizer: Any, data: SpanData) -> tuple[list[Prediction], Dataset]:
    """What a model that knows would predict, and the examples that have an answer it can point at, or none at all."""
    reachable = reachable_answers(examples, tokenizer, data.max_answer_length)
    kept = [n for n, answers in enumerate(examples["answers"]) if reachable[n] or not answers["text"]]
    if not kept:
        return [], examples.select([])
    nothing: dict[str, Any] = {"text": [], "answer_start": []}
    told = Dataset.from_list([{**examples[n], "answers": (reachable[n] or [nothing])[0]} for n in kept])
    features = task.encode(told, Codec(tokenizer), data, training=False)
    targets = task.encode(told, Codec(tokenizer), data, training=True)
    outputs = knowing(features, targets)
    return task.decode(outputs, features, told, Codec(tokenizer), data), examples.select(kept)


def score_of(task: Any, predictions: Any, examples: Any) -> dict[str, Any]:
    scores: dict[str, Any] = task.score(predictions, examples, SpanData(path="x"))
    return scores
