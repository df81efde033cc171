"""Documents become the tokenizer's own ids: long ones in pieces, where that is the same, and odd text in any file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Command, documents_of
from tokenizers import ByteLevelBPETokenizer
from transformers import BertTokenizer, PreTrainedTokenizerFast

from llmkit.corpus import encoding
from llmkit.corpus.encoding import Encoder
from llmkit.corpus.shards import TokenShards
from llmkit.corpus.tokenizer import load_tokenizer

pytestmark = pytest.mark.oldest

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abstheé.,[]😀漢שלום", "the", "##th", "##s", "mask", "sep"]
# What a normalizer looks at around a cut: spaces of all kinds, marks that combine with what is before them,
# characters that are deleted, and words that are tokens of their own.
LIVELY = st.sampled_from([" ", " ", " ", "\n", "\t", "\u3000", "\u0301", "e\u0301", "é", "\x00", "\u200b", "漢", "the"])
TEXT = st.lists(
    LIVELY | st.sampled_from(["ths", "[MASK]", "😀", "שלום", ".", "abs" * 9]) | st.characters(codec="utf-8")
)
TEXTS = st.lists(TEXT.map("".join), min_size=1, max_size=5)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a word or two, batches of a few."""
    monkeypatch.setattr(encoding, "PIECE_CHARACTERS", 8)
    monkeypatch.setattr(encoding, "BATCH_CHARACTERS", 30)


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def bert(request: pytest.FixtureRequest) -> BertTokenizer:
    return BertTokenizer(vocab={piece: n for n, piece in enumerate(PIECES)}, do_lower_case=request.param)


def encoded(tokenizer: Any, texts: list[str]) -> list[tuple[int, list[int]]]:
    return [(size, ids.tolist()) for batch in Encoder(tokenizer).encode(iter(texts)) for size, ids in batch]


def expected(tokenizer: Any, texts: list[str]) -> list[tuple[int, list[int]]]:
    return [(len(text.encode()), tokenizer(text, split_special_tokens=True)["input_ids"]) for text in texts]


@given(texts=TEXTS)
def test_pieces_give_the_ids_of_the_whole(texts: list[str], bert: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE_CHARACTERS", 8)
        patch.setattr(encoding, "BATCH_CHARACTERS", 30)
        assert encoded(bert, texts) == expected(bert, texts)


@pytest.mark.usefixtures("small")
def test_a_document_without_spaces_stays_whole_and_another_does_not(bert: Any) -> None:
    cut = Encoder(bert)._pieces(iter(["a" * 50, "the ths the ths the", "the\nths\nabsabsabsabs"]))
    assert list(cut) == [
        ("a" * 50, True),
        *[("the ths", False), (" the", False), (" ths the", True)],
        *[("the\nths", False), ("\nabsabsabsabs", True)],
    ]


def byte_pairs() -> Any:
    backend = ByteLevelBPETokenizer(add_prefix_space=True)
    backend.train_from_iterator(["the ship sails to the old town"] * 3, vocab_size=300, special_tokens=["<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend._tokenizer, bos_token="<s>", eos_token="</s>")


def with_a_name() -> Any:
    tokenizer = BertTokenizer(vocab={piece: n for n, piece in enumerate(PIECES)})
    tokenizer.add_tokens(["the abs"])
    return tokenizer


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("make", [byte_pairs, with_a_name])
def test_a_tokenizer_that_may_look_past_a_space_gets_the_whole(make: Callable[[], Any]) -> None:
    tokenizer = make()
    texts = ["the abs the abs the abs", "the ship sails to the old town", ""]
    assert encoded(tokenizer, texts) == expected(tokenizer, texts)


ODD = {
    "a NUL and other controls": "the\x00ship \x01\x7f sails\x0b\x0c\x1c\x85",
    "a byte order mark inside": "the \ufeffship",
    "line ends": "the\r\nship\rsails\n\n\u2028to\u2029town",
    "composed": "é ü ﬁ ñ",
    "decomposed": "e\u0301 u\u0308 fi n\u0303",
    "Hangul in both forms": "한국 \u1112\u1161\u11ab",
    "right to left": "שלום \u202eاهلا\u202c \u200f",
    "emoji": "😀 👩\u200d👩\u200d👧 🇺🇳 ❤\ufe0f 1\ufe0f\u20e3",
    "special tokens": "[CLS] the [MASK] ship [SEP][PAD] [UNK][MASK]",
    "private use and what is no character": "\ue000 \U0010ffff \ufffe \ufffd",
    "a combining mark first": "\u0301the ship",
    "wide spaces": "the\u3000ship\u00a0sails\u2003to\u200btown",
    "half-width and mathematical letters": "ｔｈｅ 𝐬𝐡𝐢𝐩 ①",
    "nothing but marks": "\u0301\u200b\x00",
    "a long word": "ship" * 500,
}


def written(folder: Path, kind: str) -> list[str]:
    """The texts in a file of a kind, as arguments of the command."""
    texts = list(ODD.values())
    if kind == "folder":
        (folder / "text").mkdir()
        for number, text in enumerate(texts):
            (folder / "text" / f"{number:02d}.txt").write_bytes(b"\xef\xbb\xbf" * (number % 2) + text.encode())
        return ["text"]
    if kind == "jsonl":
        rows = [json.dumps({"text": text}, ensure_ascii=number % 2 == 0) for number, text in enumerate(texts)]
        (folder / "a.jsonl").write_bytes("\r\n".join(rows).encode())
        return ["a.jsonl"]
    pq.write_table(pa.table({"text": texts}), folder / "a.parquet")
    return ["a.parquet"]


@pytest.mark.parametrize("kind", ["folder", "jsonl", "parquet"])
def test_odd_text_in_any_file(kind: str, bert: Any, llmkit: Command, tmp_path: Path) -> None:
    bert.save_pretrained(tmp_path / "tokenizer")
    arguments = [argument for source in written(tmp_path, kind) for argument in ("-c", source)]
    code, _, err = llmkit("tokenize", *arguments, "tokenizer.path=tokenizer", "-o", "shards")
    assert code == 0, err
    ids = [ids for _, ids in expected(bert, list(ODD.values())) if len(ids) > 2]
    assert len(ids) == len(ODD) - bert.do_lower_case, "which leaves nothing of nothing but marks"
    assert list(chain(*documents(tmp_path / "shards"))) == list(chain(*ids))
    special = [bert.convert_tokens_to_ids(token) for token in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")]
    assert not any(token in special for document in ids for token in document[1:-1])


def documents(folder: Path) -> Iterator[list[int]]:
    """All of them, the ones held out last: of so little text, that is the end, perhaps of a document."""
    for split in ("train", "validation"):
        yield from documents_of(TokenShards(folder, split))


MEMORY = """
import resource, sys
from llmkit.cli.main import main
sys.argv = ["llmkit", *sys.argv[1:]]
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.slow
def test_a_line_of_fifty_megabytes(bert: Any, tmp_path: Path) -> None:
    """It takes a hundred million bytes to hold the line as bytes and as text, and not a hundred times that."""
    bert.save_pretrained(tmp_path / "tokenizer")
    line = "the ths abs [MASK] שלום é . " * 1_600_000
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": line}, ensure_ascii=False) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, "tokenize", "-c", "a.jsonl", "tokenizer.path=tokenizer", "-o", "shards"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = list(chain(*documents(tmp_path / "shards")))  # the end is held out
    once = load_tokenizer(str(tmp_path / "tokenizer"))(line[:28], split_special_tokens=True)["input_ids"][1:-1]
    assert found[1:-1] == once * 1_600_000
    assert int(done.stderr.splitlines()[-1]) * 1024 < 1.5e9
