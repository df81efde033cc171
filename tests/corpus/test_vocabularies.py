"""Vocabularies: the same in every process, of every character that matters, in every script, saved as they are used."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer
from transformers import AutoTokenizer, BertConfig, BertTokenizer

from llmkit.corpus.alphabets import Alphabet
from llmkit.corpus.encoding import Encoder
from llmkit.corpus.tokenizer import load_tokenizer, tokenizer_fingerprint
from llmkit.corpus.unknown import unknown_texts
from llmkit.corpus.vocabularies import SPECIAL, Kind, train_tokenizer
from llmkit.system.errors import UserError

KINDS: tuple[Kind, ...] = get_args(Kind)
TEXTS = ["The red ship sails north.", "A town, small and old!", "Émile said [MASK] — twice.", "Ships sail."] * 12
# A sentence or two of each, with words that differ in a mark alone.
SCRIPTS = {
    "thai": "แมวกินปลาที่ตลาดน้ำทุกวัน หมามาหาม้าที่ใหม่ ไม่ใช่ไหม้",
    "lao": "ຂ້ອຍຮຽນພາສາລາວຢູ່ວຽງຈັນ",
    "khmer": "ខ្ញុំរៀនភាសាខ្មែរនៅភ្នំពេញ",
    "burmese": "ကျွန်တော်မြန်မာဘာသာစကားလေ့လာသည်",
    "hindi": "हिन्दी में कुछ वाक्य लिखे गए हैं। दिन दीन में फ़र्क है।",
    "japanese": "かきとがきは違う。学校でガラスとカラスを見ました。",
    "korean": "서울에서 한국어를 배우고 있습니다.",
    "arabic": "أكتب الجملة في المدرسة، سأل وسال.",
    "russian": "Ёлка стоит в углу, а мышь бежит.",
    "chinese": "王小明住在北京，他每天喝一杯绿茶。",
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(lambda: iter(TEXTS), 120, lowercase=True)


@pytest.fixture(scope="module", params=KINDS)
def world(request: pytest.FixtureRequest) -> Any:
    """A tokenizer of each kind for all scripts."""
    return train_tokenizer(lambda: iter([*SCRIPTS.values(), *TEXTS] * 3), 700, lowercase=True, kind=request.param)


def test_vocabularies_are_the_same_in_every_process() -> None:
    code = (
        "from llmkit.corpus.tokenizer import tokenizer_fingerprint\n"
        "from llmkit.corpus.vocabularies import train_tokenizer\n"
        "texts = [f'w{n % 17}x y{n % 5} é{n % 11}z [!] ไม่{n % 7}' for n in range(400)]\n"
        "found = [tokenizer_fingerprint(train_tokenizer(lambda: iter(texts), 300, lowercase=False, kind=kind))\n"
        "         for kind in ('wordpiece', 'unigram', 'bpe')]\n"
    )
    here: dict[str, Any] = {}
    exec(code, here)
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"{code}print(found)"],
        env={**os.environ, "PYTHONHASHSEED": "17", "RAYON_NUM_THREADS": "1"},  # here it is a random one
        capture_output=True,
        text=True,
        check=True,
    )
    assert elsewhere.stdout.strip() == str(here["found"])


def test_vocabulary_size_case_and_saving(tokenizer: Any, tmp_path: Path) -> None:
    assert len(tokenizer) <= 120
    assert tokenizer("SHIP")["input_ids"] == tokenizer("ship")["input_ids"]
    cased = train_tokenizer(lambda: iter(TEXTS), 120, lowercase=False)
    assert cased("Ship")["input_ids"] != cased("ship")["input_ids"]
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    assert tokenizer_fingerprint(again) == tokenizer_fingerprint(tokenizer)
    assert isinstance(again, BertTokenizer)


@pytest.mark.parametrize("lowercase", [True, False])
def test_english_has_the_vocabulary_of_the_library(lowercase: bool) -> None:
    """The tokenizers library's own BERT trainer, given the characters in order."""
    library = BertWordPieceTokenizer(lowercase=lowercase)
    texts = [library.normalizer.normalize_str(text) for text in TEXTS]
    alphabet = sorted(set("".join(texts)) - {" "})
    inside = [f"##{c}" for c in alphabet if c.isalpha()]
    library.train_from_iterator(
        TEXTS, 120, initial_alphabet=alphabet, special_tokens=[*SPECIAL, *inside], show_progress=False
    )
    assert train_tokenizer(lambda: iter(TEXTS), 120, lowercase=lowercase).get_vocab() == library.get_vocab()


def test_every_script_is_known_and_marks_tell_words_apart(world: Any, tmp_path: Path) -> None:
    assert world.convert_ids_to_tokens([0, 1, 2, 3, 4]) == list(SPECIAL)
    world.save_pretrained(tmp_path)
    BertConfig(vocab_size=len(world)).save_pretrained(tmp_path)  # a model beside it must not change its class
    saved = AutoTokenizer.from_pretrained(tmp_path)
    for text in SCRIPTS.values():
        ids = world(text * 40)["input_ids"]  # no space in hundreds of characters
        assert world.unk_token_id not in ids
        assert saved(text * 40)["input_ids"] == ids
    pairs = (("มา", "ม้า"), ("दिन", "दीन"), ("かき", "がき"), ("سأل", "سال"))
    for one, other in pairs:
        assert world(one)["input_ids"] != world(other)["input_ids"]
    for one, other in (("Émile", "emile"), ("Ёлка", "елка")):
        assert world(one)["input_ids"] == world(other)["input_ids"]
    pair = world("a", "b")
    assert pair["token_type_ids"] == sorted(pair["token_type_ids"])
    assert set(pair["token_type_ids"]) == {0, 1}


@pytest.mark.parametrize("kind", KINDS)
def test_capitals_are_kept_if_asked(kind: Kind) -> None:
    cased = train_tokenizer(lambda: iter(TEXTS), 300, lowercase=False, kind=kind)
    for one, other in (("Ship", "ship"), ("Émile", "Emile")):
        assert cased(one)["input_ids"] != cased(other)["input_ids"]


def test_a_character_with_its_marks_is_a_word() -> None:
    thai = train_tokenizer(lambda: iter(SCRIPTS.values()), 700, lowercase=True)
    words = thai.backend_tokenizer.pre_tokenizer.pre_tokenize_str("ที่บ้าน ok ខ្មែ")
    assert [word for word, _ in words] == ["ที่", "บ้", "า", "น", "ok", "ខ្", "មែ"]


@given(text=st.lists(st.sampled_from([*SPECIAL, "ship", " ", "[", "]", "\n", "ม้า", "\u200b", "\x00"])).map("".join))
def test_special_tokens_in_a_text_are_text(text: str, world: Any) -> None:
    """Nor do texts of nothing become tokens."""
    ((_, ids),) = next(Encoder(world).encode(iter([text])))
    found = [token for token in world.convert_ids_to_tokens(ids[1:-1]) if token in SPECIAL]
    assert not set(found) - {"[UNK]"}
    assert len(ids) > 2 or not text.strip("\u200b\x00 \n")


@settings(max_examples=30)
@given(text=st.text())
def test_bytes_know_every_text(text: str) -> None:
    assert BYTES.unk_token_id not in BYTES(text, split_special_tokens=True)["input_ids"]
    assert BYTES.decode(BYTES(text, split_special_tokens=True)["input_ids"][1:-1]).strip() == text.strip()


BYTES = train_tokenizer(lambda: iter(TEXTS), 300, lowercase=False, kind="bpe")


def test_the_alphabet_covers_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    shuffled = random.Random(1)
    characters = [chr(0x4E00 + n) for n in range(2000)]
    weights = [1 / (n + 20) for n in range(2000)]
    texts = ["".join(shuffled.choices(characters, weights, k=3000)) for _ in range(20)]
    for kind in ("wordpiece", "unigram"):
        big = train_tokenizer(lambda: iter(texts), 4000, lowercase=True, kind=kind)
        ids = big(texts[0])["input_ids"]
        assert ids.count(big.unk_token_id) / len(ids) < 0.001
    capsys.readouterr()
    small = train_tokenizer(lambda: iter(texts), 1600, lowercase=True)
    assert len(small) == 1200 + len(SPECIAL), "three quarters of the vocabulary"
    assert re.search(r"the vocabulary has no room for \d+ rare characters \(\d+\.\d+% of", capsys.readouterr().err)
    (unknown, *_) = unknown_texts(small, iter(texts))
    assert small.unk_token_id in small(unknown)["input_ids"]


def test_what_is_left_out() -> None:
    counts = Counter({" ": 5000, **{chr(0x4E00 + n): 3000 - n for n in range(3000)}})
    found = Alphabet.of(counts, 2000, lambda _: 1)
    assert len(found.kept) == 1500, "three quarters of the vocabulary; a space needs no token"
    assert found.left_out[0] == chr(0x4E00 + 1500)
    assert found.share_left_out == pytest.approx(sum(range(1, 1501)) / sum(range(1, 3001)), rel=1e-9)
    assert len(Alphabet.of(counts, 300, lambda _: 2).kept) == 1000 - 1, "as many as BERT always had"
    assert len(Alphabet.of(Counter("abc"), 300, lambda _: 2).kept) == 3
    rare = Counter({"a": 10**6, **{chr(0x4E00 + n): 1 for n in range(2000)}})
    assert len(Alphabet.of(rare, 10**6, lambda _: 1).kept) == 1901, "99.99 % of the text"


@pytest.mark.parametrize("kind", KINDS)
def test_errors(kind: Kind) -> None:
    with pytest.raises(UserError, match="no text"):
        train_tokenizer(lambda: iter(["", " \n"]), 300, lowercase=True, kind=kind)
    if kind != "bpe":
        letters = ["".join(map(chr, range(97, 123))) * 3] * 5
        with pytest.raises(UserError, match="smaller than the corpus's alphabet"):
            train_tokenizer(lambda: iter(letters), 30, lowercase=True, kind=kind)
