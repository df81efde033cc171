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
    cls_id = tokenizer.cls_token_id
    assert cls_id is not None
    special = tokenizer.num_special_tokens_to_add(pair=True)

    def features() -> Iterator[dict[str, Any]]:
        for start in range(0, len(examples), AT_ONCE):
            rows = examples[start : start + AT_ONCE]
            backend.no_truncation()
            questions = backend.encode_batch([q.strip() for q in rows["question"]], add_special_tokens=False)
            _check_room(rows["id"], questions, special, data)
            # Tokenize each passage once: questions about the same passage are usually adjacent.
            texts = list(dict.fromkeys(rows["context"]))
            passages = dict(zip(texts, backend.encode_batch(texts, add_special_tokens=False), strict=True))
            # Not from the windows: RoBERTa's post-processor cuts spaces off offsets, and would do so again.
            places = {text: token_places(passages[text].offsets, text) for text in texts}
            backend.enable_truncation(data.max_length, stride=data.doc_stride, strategy="only_second")
            for row, (question, context) in enumerate(zip(questions, rows["context"], strict=True)):
                if training and not null_answers and not rows["answers"][row]["text"]:
                    continue
                answer = _first_answer(rows["answers"][row], places[context]) if training else None
                room = data.max_length - len(question) - special
                whole = backend.post_process(question, passages[context])
                for number, encoding in enumerate((whole, *whole.overflowing)):
                    first = number * (room - data.doc_stride)  # token of the passage
                    span = _held(answer, first, first + room)
                    if training and span is None and not _sampled(f"{rows['id'][row]} {number}", data.null_windows):
                        continue
                    feature, passage = _feature(encoding, start + row)
                    if training:
                        ends = passage[list(span)] if span else [encoding.ids.index(cls_id)] * 2
                        yield {**feature, "start_positions": ends[0], "end_positions": ends[1]}
                    else:
                        offsets = np.full((len(encoding), 2), -1, np.int32)
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
    """The passage's first and last token of the first answer, which is the one to train on; None if there is none."""
    if not answers["text"]:
        return None
    start = answers["answer_start"][0]
    return tokens_at(places, start, start + len(answers["text"][0]))


def _held(answer: tuple[int, int] | None, first: int, end: int) -> tuple[int, int] | None:
    """The answer's first and last token, counted from `first`; None if not all of it is in [first, end)."""
    if answer is None or answer[0] < first or answer[1] >= end:
        return None
    return answer[0] - first, answer[1] - first


def _feature(encoding: Any, example: int) -> tuple[dict[str, Any], Array]:
    """A window's columns, and the positions of the passage's tokens in it."""
    passage = np.array([sequence == 1 for sequence in encoding.sequence_ids])
    # Except in the first window, tokenizers gives the passage segment 0. The [SEP] after it has the right segment.
    type_ids = np.where(passage, encoding.type_ids[-1], encoding.type_ids)
    feature = {
        "input_ids": np.array(encoding.ids, dtype=np.int32),  # lists take ten times the memory
        "token_type_ids": type_ids.astype(np.int8),
        "length": len(encoding.ids),
        "example": example,
    }
    return feature, np.flatnonzero(passage)
