"""A vocab.txt alone, as Google publishes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from llmkit.corpus.special_tokens import BERTS
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.models.checkpoint import Checkpoint
from llmkit.system.errors import UserError

# The second is a token of its own that str.splitlines would take for the end of a line.
UNCASED = ["[PAD]", "[unused0]", *BERTS[1:], "\u2028", "ship", "##s", "ℝ"]


def write(folder: Path, tokens: Sequence[str], end: str = "\n") -> Path:
    (folder / "vocab.txt").write_bytes("".join(token + end for token in tokens).encode())
    (folder / "bert_config.json").write_text("{}")
    return folder


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_folder_and_its_file(end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, UNCASED, end)
    for name in (folder, folder / "vocab.txt"):
        for load in (load_tokenizer, lambda name: Checkpoint.named(name).tokenizer()):
            loaded = load(str(name))
            said = capsys.readouterr().err
            assert f"read as BERT's vocabulary of {len(UNCASED)} tokens" in said
            assert "texts are lowercased" in said
            assert loaded.get_vocab() == {token: number for number, token in enumerate(UNCASED)}
            assert loaded.convert_ids_to_tokens(loaded("Ships")["input_ids"]) == ["[CLS]", "ship", "##s", "[SEP]"]
    loaded.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved")("Ships")["input_ids"] == loaded("Ships")["input_ids"]


def test_a_byte_order_mark(tmp_path: Path) -> None:
    file = write(tmp_path, UNCASED) / "vocab.txt"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_tokenizer(str(file)).get_vocab() == {token: number for number, token in enumerate(UNCASED)}


def test_a_cased_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_tokenizer(str(write(tmp_path, [*UNCASED, "Ship"])))
    assert "it is cased (Ship)" in capsys.readouterr().err
    assert loaded.convert_ids_to_tokens(loaded("Ship ship")["input_ids"]) == ["[CLS]", "Ship", "ship", "[SEP]"]


def test_another_kind_of_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocab\.txt is not a vocabulary of BERT's: it has no \[CLS\], \[SEP\]"):
        load_tokenizer(str(write(tmp_path, ["[PAD]", "[UNK]", "[MASK]", "a"])))
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"vocab\.txt: not UTF-8 text but UTF-16"):
        load_tokenizer(str(tmp_path / "vocab.txt"))


def test_there_is_no_model_in_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config\.json: no model can be loaded from it") as caught:
        _ = Checkpoint.named(str(write(tmp_path, UNCASED))).config
    assert "convert a TensorFlow checkpoint first" in caught.value.remedy
