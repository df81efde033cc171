"""Why this answer? The logits of its start and end, in the window of the passage that gave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError
from llmkit.tasks.explained import Explained, Place, Typed
from llmkit.tasks.places import token_places
from llmkit.tasks.tokenizing import backend_copy
from llmkit.tasks.values import Array, Outputs, Prediction

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from llmkit.models.collator import Batch

QUESTION, PASSAGE = 0, 1  # numbers of the texts
Window = tuple[Mapping[str, Any], Outputs]


def typed_question(typed: Typed, task: str) -> dict[str, Any]:
    """A question and its passage, in canonical columns. Raises UserError."""
    if typed.given != {"question", "context"}:
        raise UserError(f"{task} answers a question on a passage", remedy="give both: -q QUESTION -c PASSAGE")
    assert typed.question is not None
    if not typed.question.strip():
        raise UserError("the question is empty", remedy="give a question: -q QUESTION")
    return {"title": "", "question": typed.question, "context": typed.context}


def explained_span(
    task: str,
    example: Mapping[str, Any],
    windows: Sequence[Window],
    prediction: Prediction,
    tokenizer: PreTrainedTokenizerFast,
    *,
    margins: bool,
) -> Explained:
    """See Task.explained: the start logit plus the end logit of the answer, or of [CLS] if the model abstains."""
    question, passage = example["question"].strip(), example["context"]
    if not prediction.candidates:
        raise UserError(
            "there is no answer to explain: the passage has no character that a token stands for",
            remedy="give a passage with words",
        )
    if prediction.start is None or prediction.end is None:
        own = None
        what, answer = "the start logit plus the end logit of [CLS], which stands for no answer", "no answer"
        # A model abstains if every window does, so the least sure one decides.
        number = int(np.argmin([_null(outputs) for _, outputs in windows]))
        first = last = 0
    else:
        own = Place(PASSAGE, prediction.start, prediction.end)
        what, answer = "the start logit plus the end logit of the answer", prediction.text
        _, number, first, last = max(_readings(windows, own, margins=margins), key=lambda reading: reading[0])
    feature = windows[number][0]
    places = np.full((feature["length"], 3), -1)
    offsets = np.reshape(feature["offsets"], (-1, 2))
    inside = offsets[:, 0] >= 0
    places[inside] = np.column_stack([np.full(inside.sum(), PASSAGE), offsets[inside]])
    positions, of_question = _of_question(task, question, tokenizer)
    places[positions] = np.where(of_question[:, :1] >= 0, np.insert(of_question, 0, QUESTION, axis=1), -1)

    def logits(outputs: Batch) -> Tensor:
        return outputs["start_logits"][:, first] + outputs["end_logits"][:, last]

    return Explained(feature, logits, what, answer, (("question", question), ("passage", passage)), places, own)


def _null(outputs: Outputs) -> float:
    return float(outputs["start_logits"][0] + outputs["end_logits"][0])


def _readings(windows: Sequence[Window], answer: Place, *, margins: bool) -> Iterator[tuple[float, int, int, int]]:
    """(score, window, first token, last token) of each way to read the answer, scored as in decoding."""
    for number, (feature, outputs) in enumerate(windows):
        offsets = np.reshape(feature["offsets"], (-1, 2))
        for first in np.flatnonzero(offsets[:, 0] == answer.start).tolist():
            for last in np.flatnonzero(offsets[:, 1] == answer.end).tolist():
                if first <= last:
                    score = float(outputs["start_logits"][first] + outputs["end_logits"][last])
                    yield score - (_null(outputs) if margins else 0.0), number, first, last


def _of_question(task: str, question: str, tokenizer: PreTrainedTokenizerFast) -> tuple[Array, Array]:
    """Where the question's tokens are in each window, [tokens], and their characters, [tokens, 2]."""
    backend = backend_copy(tokenizer, "cls_token_id", task)
    backend.no_truncation()
    encoding = backend.encode(question, add_special_tokens=False)
    places = token_places(encoding.offsets, question)  # before post-processing, which may cut spaces off
    whole = backend.post_process(encoding, backend.encode("", add_special_tokens=False))
    return np.flatnonzero(np.array(whole.special_tokens_mask) == 0), places
