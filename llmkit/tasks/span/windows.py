"""Split passages into overlapping windows; each window is a feature."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.columns import Columns
from llmkit.tasks.on_disk import batched, held_like
from llmkit.tasks.places import token_places, tokens_at
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.tokenizing import backend_copy
from llmkit.tasks.values import Array

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

AT_ONCE = 64  # examples: the tokenizer takes some hundred bytes for each token, and an example may be a whole article


def windows(
    task: str,
    examples: Dataset | Columns,
    tokenizer: PreTrainedTokenizerFast,
    data: SpanData,
    *,
    training: bool,
    null_answers: bool,
) -> Dataset | Columns:
    """Windows with `offsets`: the place of each token in the passage (see places.py), (-1, -1) outside it.

    For training they have `start_positions` and `end_positions` instead, both at [CLS] if the window does not contain
    the whole answer. Only the share `null_windows` of such windows is kept, chosen by a hash of example id and window
    number. A question without an answer is trained on only if the task has `null_answers`.
    """
    backend = backend_copy(tokenizer, "cls_token_id", task)
    backend.no_truncation()
    cls_id = tokenizer.cls_token_id
    assert cls_id is not None
    special = tokenizer.num_special_tokens_to_add(pair=True)

    def features() -> Iterator[dict[str, Any]]:
        for start in range(0, len(examples), AT_ONCE):
            rows = examples[start : start + AT_ONCE]
            questions = backend.encode_batch([q.strip() for q in rows["question"]], add_special_tokens=False)
            _check_room(rows["id"], questions, special, data)
            # Tokenize each passage once: questions about the same passage are usually adjacent.
            texts = list(dict.fromkeys(rows["context"]))
            passages = dict(zip(texts, backend.encode_batch(texts, add_special_tokens=False), strict=True))
            answers = rows["answers"] if training else [None] * len(questions)
            # For training, places are needed to find answers only. They are taken before RoBERTa's post-processor cuts
            # spaces off the offsets.
            pairs = zip(rows["context"], answers, strict=True)
            located = dict.fromkeys(text for text, given in pairs if given is None or given["text"])
            places = {text: token_places(passages[text].offsets, text) for text in located}
            for row, (question, context, given) in enumerate(zip(questions, rows["context"], answers, strict=True)):
                if given and not given["text"] and not null_answers:
                    continue
                answer = _first_answer(given, places[context]) if given and given["text"] else None
                room = data.max_length - len(question) - special
                whole = _Pair(backend.post_process(question, passages[context]))
                for number, first in enumerate(_starts(whole.tokens, room, data.doc_stride)):
                    span = _held(answer, first, first + room)
                    if training and span is None and not _sampled(f"{rows['id'][row]} {number}", data.null_windows):
                        continue
                    feature, passage = whole.window(first, first + room)
                    feature["example"] = start + row
                    if training:
                        ends = passage[list(span)] if span else [feature["input_ids"].tolist().index(cls_id)] * 2
                        yield {**feature, "start_positions": ends[0], "end_positions": ends[1]}
                    else:
                        offsets = np.full((feature["length"], 2), -1, np.int32)
                        offsets[passage] = places[context][first : first + room]
                        yield {**feature, "offsets": offsets.ravel()}

    rows = features()
    first = next(rows, None)
    if training and first is None:
        raise UserError(
            f"no window of the training examples holds an answer, and data.null_windows {data.null_windows} "
            "leaves none of the windows without one",
            remedy="raise data.null_windows",
        )
    every = batched(chain([first], rows)) if first else iter([{"input_ids": [], "length": [], "example": []}])
    # Columns in memory, or a Dataset, as the examples are.
    return held_like(examples, every)


def _check_room(ids: Sequence[str], questions: Sequence[Any], special: int, data: SpanData) -> None:
    """Raises UserError if windows cannot advance by at least one token, where the tokenizers library would panic."""
    for example_id, question in zip(ids, questions, strict=True):
        room = data.max_length - len(question) - special
        if room <= data.doc_stride:
            raise UserError(
                f"example {example_id}: its question takes {len(question)} tokens, which leaves {max(room, 0)} of "
                f"max_length {data.max_length} for the passage: not more than doc_stride {data.doc_stride}",
                remedy="raise data.max_length, lower data.doc_stride, or shorten the question",
            )


def _sampled(key: str, share: float) -> bool:
    """Whether the key is in a pseudorandom sample of this share of all keys; always the same for the same key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") < share * 2**64


def _first_answer(answers: dict[str, list[Any]], places: Array) -> tuple[int, int] | None:
    """The passage's first and last token of the first answer, which is the one to train on; None if it has none."""
    start = answers["answer_start"][0]
    return tokens_at(places, start, start + len(answers["text"][0]))


def _starts(tokens: int, room: int, stride: int) -> range:
    """Where windows of `room` tokens begin in a passage. Neighbors share `stride`; the last reaches the end."""
    step = room - stride
    return range(0, max(tokens - room, 0) + step, step)


def _held(answer: tuple[int, int] | None, first: int, end: int) -> tuple[int, int] | None:
    """The answer's first and last token, counted from `first`; None if not all of it is in [first, end)."""
    if answer is None or answer[0] < first or answer[1] >= end:
        return None
    return answer[0] - first, answer[1] - first


class _Pair:
    """A question and its whole passage with special tokens, to cut windows from.

    tokenizers would cut them itself, but copies all of them, and a whole article has a hundred.
    """

    def __init__(self, encoding: Any) -> None:
        passage = np.array([sequence == 1 for sequence in encoding.sequence_ids])
        self.tokens = int(passage.sum())
        self._ids = np.array(encoding.ids, dtype=np.int32)  # lists take ten times the memory
        self._type_ids = np.array(encoding.type_ids, dtype=np.int8)
        self._begins = int(passage.argmax()) if self.tokens else len(passage)

    def window(self, first: int, end: int) -> tuple[dict[str, Any], Array]:
        """Its columns, with tokens [first, end) of the passage at most, and the positions of these in it."""
        begins, ends = self._begins, self._begins + self.tokens
        first, end = begins + first, min(begins + end, ends)
        ids, type_ids = (
            np.concatenate([column[:begins], column[first:end], column[ends:]])
            for column in (self._ids, self._type_ids)
        )
        feature = {"input_ids": ids, "token_type_ids": type_ids, "length": len(ids)}
        return feature, np.arange(begins, begins + end - first)
