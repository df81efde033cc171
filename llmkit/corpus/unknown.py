"""Find what a tokenizer does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SAMPLE = 1_000_000  # characters that are searched
PIECE = 10_000  # characters that are encoded at a time: offsets take memory
NAMED = 5
LONGEST = 20  # characters shown of a text


def unknown_texts(tokenizer: PreTrainedTokenizerFast, documents: Iterator[str]) -> list[str]:
    """The texts that most often become [UNK] at the beginning of the documents, most frequent first."""
    found = Counter[str]()
    unk, read = tokenizer.unk_token_id, 0
    for document in documents:
        for start in range(0, min(len(document), SAMPLE - read), PIECE):
            text = document[start : start + PIECE]
            encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
            unknown = (place for place, token in zip(encoding.offsets, encoding.ids, strict=True) if token == unk)
            found.update(text[slice(*place)][:LONGEST] for place in unknown)
        read += len(document)
        if read >= SAMPLE:
            break
    return [text for text, _ in found.most_common(NAMED)]
