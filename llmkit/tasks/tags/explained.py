"""Why this tag? The logit of one word's tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.system.errors import UserError, did_you_mean
from llmkit.tasks.explained import Explained, Place, Typed, Wanted
from llmkit.tasks.tags.entities import OUTSIDE
from llmkit.tasks.tags.offsets import places_of
from llmkit.tasks.values import Array, Codec, Outputs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Part = tuple[Mapping[str, Any], Outputs]


def typed_sentence(typed: Typed, task: str, column: str) -> dict[str, Any]:
    """A row with a text. Raises UserError."""
    if typed.given != {"text"}:
        raise UserError(f"{task} reads a sentence", remedy="give it: -t SENTENCE")
    assert typed.text is not None
    if not typed.text.strip():
        raise UserError("the text is empty", remedy="give a text with words")
    return {column: typed.text}


def explained_tag(
    example: Mapping[str, Any], parts: Sequence[Part], tags: Sequence[str], codec: Codec, wanted: Wanted
) -> Explained:
    """See Task.explained: the logit of a word's tag. By default it is the first word with a tag other than O.

    `tags` are those predicted. A long sentence is read in parts; the word's own part is explained. Raises UserError.
    """
    text, places = places_of(example["tokens"], example["text"])
    words = [text[start:end] for start, end in places]
    word = _number_of(wanted.word, words) if wanted.word is not None else _first_tagged(tags)
    tag = tags[word] if wanted.label is None else wanted.label
    if tag not in codec.labels:
        raise UserError(
            f"no tag {tag!r}{did_you_mean(tag, codec.labels)}", remedy=f"tags are {', '.join(codec.labels)}"
        )
    before = 0
    for feature, _ in parts:
        if word < before + len(feature["first"]):
            break
        before += len(feature["first"])
    label, token = codec.labels.index(tag), int(feature["first"][word - before])
    what = f"the logit of {tag} for {words[word]!r}, word {word + 1}"
    return Explained(
        feature,
        lambda out: out["logits"][:, token, label],
        what,
        tag,
        (("sentence", text),),
        _placed(feature, places[before:], codec.tokenizer),
        Place(0, *places[word]),
    )


def _first_tagged(tags: Sequence[str]) -> int:
    return next((number for number, tag in enumerate(tags) if tag != OUTSIDE), 0)


def _number_of(wanted: str, words: Sequence[str]) -> int:
    """The first word that is so called, or else the word of this number."""
    if wanted in words:
        return words.index(wanted)
    if wanted.isdecimal() and 1 <= int(wanted) <= len(words):
        return int(wanted) - 1
    raise UserError(
        f"no word {wanted!r}{did_you_mean(wanted, words)}", remedy=f"give a word, or its number from 1 to {len(words)}"
    )


def _placed(feature: Mapping[str, Any], places: Sequence[tuple[int, int]], tokenizer: PreTrainedTokenizerFast) -> Array:
    """The places of tokens: every token of a word has that of the whole word."""
    first, length = list(feature["first"]), feature["length"]
    ends = {tokenizer.sep_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id}
    # Behind the last word's first token, a special token ends the sentence.
    after = (n for n in range(first[-1] + 1, length) if feature["input_ids"][n] in ends)
    found = np.full((length, 3), -1)
    for start, stop, place in zip(first, [*first[1:], next(after, length)], places, strict=False):
        found[start:stop] = (0, *place)
    return found
