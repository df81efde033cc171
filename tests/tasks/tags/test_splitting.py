"""Words of a sentence are read as in running text, by every family of tokenizers."""

from __future__ import annotations

import pytest
from support.tokenizer_families import FAMILIES, SENTENCES, tokenizer_of

from llmkit.tasks.tags.splitting import Splitter

# Their vocabularies have other tokens for a word behind a space.
SPACED = {"roberta", "modernbert", "eurobert", "mmbert"}


@pytest.mark.parametrize("family", FAMILIES)
def test_as_in_running_text(family: str) -> None:
    tokenizer = tokenizer_of(family)
    sentences = [text.split() for text in SENTENCES.values()]
    before = " " if family in SPACED else ""
    for number, ids, first in Splitter(tokenizer, 512, "ner").split(sentences):
        words = sentences[number]
        assert ids == tokenizer(before + " ".join(words))["input_ids"]
        assert len(first) == len(words)


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_hold_each_word_once(family: str) -> None:
    tokenizer = tokenizer_of(family)
    words = [*SENTENCES["latin"].split(), "\u200b", "x" * 40]
    parts = list(Splitter(tokenizer, 16, "ner").split([words]))
    assert len(parts) > 1
    assert all(len(ids) <= 16 for _, ids, _ in parts)
    assert sum(len(first) for _, _, first in parts) == len(words)
    assert all(ids[0] == tokenizer.cls_token_id for _, ids, _ in parts)
