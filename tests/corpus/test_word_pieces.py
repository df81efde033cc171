"""Whole words are those of the tokenizer, whatever marks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Command
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from llmkit.corpus.masking import Masks, Vocabulary
from llmkit.corpus.vocabularies import train_tokenizer
from llmkit.corpus.word_pieces import WordPieces
from llmkit.corpus.words import word_places

WORDS = [
    "rebuilt",
    "lighthouse",
    "velmora",
    "Дом",
    "мышью",
    "1874",
    "naïve",
    "हिन्दी",
    "灯",
    "塔",
    "ที่",
    "ม้า",
    ",",
    "(",
    "!",
    "é",
]
TEXTS = [" ".join(WORDS), "lightship house rebuild", "12 48 7 a b c d"] * 20


def of_parts(tokenizer: Any, trainer: Any) -> PreTrainedTokenizerFast:
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", unk_token="[UNK]")


def byte_level() -> Any:
    """As RoBERTa and ModernBERT have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return of_parts(
        tokenizer, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["[MASK]"])
    )


def replaced_spaces() -> Any:
    """As Gemma has it: bytes for what is not in the vocabulary."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    return of_parts(tokenizer, trainers.BpeTrainer(vocab_size=400, special_tokens=["[MASK]", "[UNK]", *bytes_]))


def ends_of_words() -> Any:
    """As XLM has it."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=120, end_of_word_suffix="</w>", special_tokens=["[MASK]", "[UNK]"])
    return of_parts(tokenizer, trainer)


def trained(kind: Any) -> Any:
    return train_tokenizer(lambda: iter(TEXTS), 300, lowercase=False, kind=kind)


TOKENIZERS = {
    "wordpiece": lambda: trained("wordpiece"),
    "unigram": lambda: trained("unigram"),
    "bpe": lambda: trained("bpe"),
    "byte-level": byte_level,
    "replaced spaces": replaced_spaces,
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]()


def words_of(tokenizer: Any, text: str) -> list[str]:
    """The text of each word, by the tokens that begin one."""
    pieces = WordPieces.of(tokenizer)
    assert pieces is not None
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    starts = pieces.starts(np.array(encoding.ids, np.int64), np.arange(len(encoding)))
    groups = np.split(np.arange(len(encoding)), np.flatnonzero(starts)[1:] if starts[0] else np.flatnonzero(starts))
    places = [[encoding.offsets[n] for n in group] for group in groups]
    found = [text[min(start for start, _ in p) : max(end for _, end in p)].strip() for p in places if p]
    return [word for word in found if word]


@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), glue=st.sampled_from([" ", "  ", "\n"]))
def test_tokens_of_a_word_belong_together(tokenizer: Any, words: list[str], glue: str) -> None:
    text = glue.join(words)
    found, expected = words_of(tokenizer, text), [text[start:end] for start, end in word_places(text)]
    # A pair of bytes does not tell a letter of Hindi from one of Thai: then Thai is one word, as Hindi is.
    assert "".join(found) == "".join(expected)
    assert [word for word in found if word.isascii()] == [word for word in expected if word.isascii()]
    if "ที่" not in words and "ม้า" not in words:
        assert found == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(rebuilt),lighthouse!", ["(", "rebuilt", ")", ",", "lighthouse", "!"]),
        ("灯塔 velmora灯", ["灯", "塔", "velmora", "灯"]),
        ("naïve\nrebuilt", ["naïve", "rebuilt"]),
    ],
)
def test_words_without_spaces_between_them(tokenizer: Any, text: str, words: list[str]) -> None:
    assert words_of(tokenizer, text) == words


def test_words_that_are_marked_at_their_end() -> None:
    assert words_of(ends_of_words(), "rebuilt lighthouse, velmora") == ["rebuilt", "lighthouse", ",", "velmora"]


def test_a_document_begins_with_a_word(tokenizer: Any) -> None:
    """No mark says so where text begins without a space."""
    special = tokenizer.mask_token_id
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("rebuilt", "lighthouse")]
    block = np.array([*ids[0], special, *ids[1]])
    places = np.array([n for n in range(len(block)) if n != len(ids[0])])
    pieces = WordPieces.of(tokenizer)
    assert pieces is not None
    assert pieces.starts(block, places)[len(ids[0])]


def test_whole_words_are_masked(tokenizer: Any) -> None:
    text = "rebuilt lighthouse velmora " * 10
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"])
    vocabulary = Vocabulary.of(tokenizer)
    assert vocabulary.words is not None
    word = np.cumsum(vocabulary.words.starts(ids, np.arange(len(ids))))
    masks = Masks(vocabulary, whole_words=True, seed=1)
    for block in range(20):
        _, chosen = masks.mask(ids[None], np.array([0]), np.array([block]), 0.15)
        assert chosen.tolist() == np.flatnonzero(np.isin(word, word[chosen])).tolist()
        assert len(chosen) < len(ids) / 2


def test_a_tokenizer_without_marks_is_refused(llmkit: Command, tmp_path: Path) -> None:
    bare = Tokenizer(models.BPE(unk_token="[UNK]"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    bare.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=100, special_tokens=["[UNK]", *special.values()]))
    PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="[UNK]", **special).save_pretrained(tmp_path / "bare")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    code, _, err = llmkit(
        *("pretrain", "-r", "tiny/pretrain", "corpus.sources=[a.jsonl]", "corpus.tokenizer={path: bare}"),
        "corpus.whole_word_mask=true",
    )
    assert code == 1
    assert "corpus.whole_word_mask: the tokens of bare don't tell where words begin" in err
    assert "tokenized" not in err, "before anything is done"
    code, _, err = llmkit("tokenize", "-c", "a.jsonl", "tokenizer.path=bare", "-o", "shards")
    assert code == 0, err
    code, _, err = llmkit("pretrain", "-r", "tiny/pretrain", "corpus.path=shards", "corpus.whole_word_mask=true")
    assert code == 1
    assert "the tokens of shards don't tell" in err
