"""Whole words are those of the tokenizer, whatever marks them."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Command
from support.tokenizer_families import FAMILIES, SENTENCES, tokenizer_of
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


def trained_on_many_scripts(kind: Any) -> Any:
    return train_tokenizer(lambda: iter([*SENTENCES.values()] * 3), 900, lowercase=False, kind=kind)


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
    return [word for word, _ in words_and_tokens(tokenizer, text)]


def words_and_tokens(tokenizer: Any, text: str) -> list[tuple[str, list[tuple[int, int]]]]:
    """The text of each word, and where its tokens begin and end."""
    pieces = WordPieces.of(tokenizer)
    assert pieces is not None
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    starts = pieces.starts(np.array(encoding.ids, np.int64), np.arange(len(encoding)))
    groups = np.split(np.arange(len(encoding)), np.flatnonzero(starts)[1:] if starts[0] else np.flatnonzero(starts))
    places = [[encoding.offsets[n] for n in group] for group in groups]
    found = [(text[min(start for start, _ in p) : max(end for _, end in p)].strip(), p) for p in places if p]
    return [(word, tokens) for word, tokens in found if word]


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


SPACED = ("latin", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "bengali", "tamil", "korean")
OURS: dict[str, Any] = {kind: partial(trained_on_many_scripts, kind) for kind in ("wordpiece", "unigram", "bpe")}
BY_FAMILY = OURS | {name: partial(tokenizer_of, name) for name in FAMILIES}
SPLIT_AT_PUNCTUATION = [*OURS, "bert-cased", "roberta", "modernbert", "xlm-roberta", "deberta-v3"]


@pytest.mark.parametrize("family", SPLIT_AT_PUNCTUATION)
def test_words_of_scripts_with_spaces_are_those_of_bert(family: str) -> None:
    tokenizer = BY_FAMILY[family]()
    for script in SPACED:
        text = SENTENCES[script]
        assert words_of(tokenizer, text) == [text[start:end] for start, end in word_places(text)], script


@pytest.mark.parametrize("family", ["wordpiece", "bert-uncased", "bert-cased", "mpnet"])
def test_words_of_wordpiece_are_its_own_in_every_script(family: str) -> None:
    tokenizer = BY_FAMILY[family]()
    pieces = WordPieces.of(tokenizer)
    assert pieces is not None
    for script, text in SENTENCES.items():
        encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        starts = pieces.starts(np.array(encoding.ids), np.arange(len(encoding)))
        assert starts.tolist() == [True, *(a != b for a, b in pairwise(encoding.word_ids))], script


@pytest.mark.parametrize("family", [name for name in BY_FAMILY if name not in ("bert-uncased", "bert-cased", "mpnet")])
def test_a_chinese_word_is_a_character_or_a_token(family: str) -> None:
    """Or several tokens that divide characters, whose bytes they hold."""
    for word, tokens in words_and_tokens(BY_FAMILY[family](), SENTENCES["chinese"]):
        assert all(start < end for (_, end), (start, _) in pairwise(tokens)), word


INDIC = ["ਪੰਜਾਬੀ", "ગુજરાતી", "ଓଡ଼ିଆ", "සිංහල", "தமிழ்", "తెలుగు", "ಕನ್ನಡ", "മലയാളം"]


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("text", [*(SENTENCES[script] for script in SPACED), *INDIC, "tiếng Việt, “ქართული” – አማርኛ"])
def test_a_word_is_not_divided_where_bytes_are_tokens(text: str, pairs: bool) -> None:
    """Each byte is a token; or the first two of three are, as where a vocabulary has seen little of a script.

    A punctuation mark beside a word may be taken for a part of it, as it may begin or end with the same byte.
    """
    pre = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    long = {character for character in text if len(character.encode()) == 3}
    written = ["".join(piece for piece, _ in pre.pre_tokenize_str(character)) for character in long]
    merges = sorted({(first, second) for first, second, _ in written}) if pairs else []
    tokens = [*pre.alphabet(), *map("".join, merges), "[MASK]"]
    bytes_ = Tokenizer(models.BPE({token: n for n, token in enumerate(tokens)}, merges))
    bytes_.pre_tokenizer = pre
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_, mask_token="[MASK]")
    parts = iter(text[start:end] for start, end in word_places(text))
    found = words_of(tokenizer, text)
    for word in found:
        taken = ""
        while taken != word:
            taken += next(parts)
            assert word.startswith(taken)
    assert len(found) >= len(text.split()), "a space divides words"


def test_words_that_are_marked_at_their_end() -> None:
    assert words_of(ends_of_words(), "rebuilt lighthouse, velmora") == ["rebuilt", "lighthouse", ",", "velmora"]


@pytest.mark.parametrize("text", ["lighthouse", "\u0301lighthouse"])
def test_a_document_begins_with_a_word(tokenizer: Any, text: str) -> None:
    """No mark says so where text begins without a space, and an accent belongs to no word of the document before."""
    special = tokenizer.mask_token_id
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("rebuilt", text)]
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
    masks = Masks(vocabulary, masking="whole_words", seed=1)
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
        "corpus.masking=whole_words",
    )
    assert code == 1
    assert "corpus.masking=whole_words: the tokens of bare don't tell where words begin" in err
    assert "tokenized" not in err, "before anything is done"
    code, _, err = llmkit("tokenize", "-c", "a.jsonl", "tokenizer.path=bare", "-o", "shards")
    assert code == 0, err
    code, _, err = llmkit("pretrain", "-r", "tiny/pretrain", "corpus.path=shards", "corpus.masking=spans")
    assert code == 1
    assert "the tokens of shards don't tell" in err
