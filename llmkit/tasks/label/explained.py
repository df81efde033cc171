"""Why this label? Its logit, or the number of a regression, and where the input stands in the texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.explained import Explained, Typed
from llmkit.tasks.places import token_places
from llmkit.tasks.tokenizing import backend_copy
from llmkit.tasks.values import Array, Codec, Outputs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Input = tuple[Mapping[str, Any], Outputs]


def typed_text(typed: Typed, task: str, *, pair: bool) -> dict[str, Any]:
    """A text, or a pair of texts, in canonical columns. Raises UserError."""
    if typed.given != {"text", *(["pair"] if pair else [])}:
        what, remedy = ("a pair of texts", "-t TEXT --pair TEXT") if pair else ("a text", "-t TEXT")
        raise UserError(f"{task} reads {what}", remedy=f"give it: {remedy}")
    if not f"{typed.text}{typed.pair or ''}".strip():
        raise UserError("the text is empty", remedy="give a text with words")
    return {"text": typed.text, "pair": typed.pair, "label": None}


def explained_label(
    task: str, example: Mapping[str, Any], given: Input, codec: Codec, max_length: int, label: str | None
) -> Explained:
    """See Task.explained: the logit of the label that is most likely, or of `label`. Raises UserError."""
    feature, outputs = given
    if label is not None and label not in codec.labels:
        raise UserError(
            f"no label {label!r}{did_you_mean(label, codec.labels)}", remedy=f"labels are {', '.join(codec.labels)}"
        )
    number = int(outputs["logits"].argmax()) if label is None else codec.labels.index(label)
    name = codec.labels[number]
    texts, places = _placed(task, example, feature, codec.tokenizer, max_length)
    what = f"the logit of {name!r}"
    return Explained(feature, lambda out: out["logits"][:, number], what, name, texts, places)


def explained_number(
    task: str, example: Mapping[str, Any], given: Input, codec: Codec, max_length: int, predicted: str
) -> Explained:
    """See Task.explained: the predicted number, in the user's unit."""
    texts, places = _placed(task, example, given[0], codec.tokenizer, max_length)
    return Explained(given[0], lambda out: out["logits"][:, 0], "the predicted number", predicted, texts, places)


def _placed(
    task: str, example: Mapping[str, Any], feature: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast, most: int
) -> tuple[tuple[tuple[str, str], ...], Array]:
    """The texts of an example, and the places of its tokens in them."""
    text, pair = example["text"], example["pair"]
    backend = backend_copy(tokenizer, "cls_token_id", task)
    backend.enable_truncation(most, strategy="longest_first", direction=tokenizer.truncation_side)
    encoding = backend.encode(text) if pair is None else backend.encode(text, pair)
    assert encoding.ids == list(feature["input_ids"]), "the same input as in encode"
    texts = (("text", text),) if pair is None else (("text", text), ("pair", pair))
    places = np.full((len(encoding), 3), -1)
    sequences = np.array([-1 if number is None else number for number in encoding.sequence_ids])
    for number, (_, content) in enumerate(texts):
        its = np.flatnonzero(sequences == number)
        found = token_places([encoding.offsets[token] for token in its], content)
        places[its] = np.where(found[:, :1] >= 0, np.insert(found, 0, number, axis=1), -1)
    return texts, places
