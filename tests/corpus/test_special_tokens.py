"""Special tokens that a tokenizer has but does not add, and encoders whose tokens have a decoder's names."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tokenizer_families import FAMILIES, tokenizer_of
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.system.errors import UserError

WORDS = {
    word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "[CLS]", "[SEP]", "a", "b"])
}
ENCODER = {"bos_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>"}


def tokenizer(**names: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", **names)


@pytest.mark.parametrize(
    ("names", "single", "pair"),
    [
        ({"cls_token": "[CLS]", "sep_token": "[SEP]"}, "[CLS] a [SEP]", "[CLS] a [SEP] b [SEP]"),
        (ENCODER, "<s> a </s>", "<s> a </s> </s> b </s>"),
    ],
)
def test_they_are_added_and_said(
    names: dict[str, str], single: str, pair: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer(**names).save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path), name="mine")
    first, last = single.split()[0], single.split()[-1]
    assert capsys.readouterr().err == (
        f"the tokenizer of mine does not add its special tokens: each text is read as {first} … {last}\n"
    )
    assert (loaded.cls_token, loaded.sep_token) == (first, last)
    loaded.save_pretrained(tmp_path)
    for each in (loaded, AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(str(tmp_path))):
        assert each.convert_ids_to_tokens(each("a")["input_ids"]) == single.split()
        assert each.convert_ids_to_tokens(each("a", "b")["input_ids"]) == pair.split()
    assert not capsys.readouterr().err, "what was saved adds them"
    segments = loaded("a", "b", return_token_type_ids=True)["token_type_ids"]
    assert segments == ([0, 0, 0, 1, 1] if first == "[CLS]" else [0] * 6)


def test_a_post_processor_that_adds_nothing_stays(tmp_path: Path) -> None:
    own = tokenizer(**ENCODER)
    own.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    own.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.convert_ids_to_tokens(loaded("b")["input_ids"]) == ["<s>", "b", "</s>"]
    assert '"ByteLevel"' in loaded.backend_tokenizer.to_str()


@pytest.mark.parametrize("names", [{"mask_token": "<mask>"}, {"bos_token": "<s>", "eos_token": "</s>"}])
def test_none_to_add(names: dict[str, str], tmp_path: Path) -> None:
    """Without a mask token, <s> and </s> are a decoder's."""
    tokenizer(**names).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="adds no special tokens to a text, and names none to add") as caught:
        load_tokenizer(str(tmp_path))
    assert "cls_token and sep_token in its tokenizer_config.json" in caught.value.remedy


def test_an_encoder_with_the_names_of_a_decoder(tmp_path: Path) -> None:
    own = tokenizer(**ENCODER)
    ends = [("<s>", 0), ("</s>", 2)]
    own.backend_tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ends)
    own.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert (loaded.cls_token, loaded.sep_token) == ("<s>", "</s>")
    assert loaded("a", "b")["input_ids"] == [0, 7, 2, 8, 2]


@pytest.mark.parametrize("family", FAMILIES)
def test_others_stay_as_they_are(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tokenizer_of(family)
    own.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.backend_tokenizer.to_str() == own.backend_tokenizer.to_str()
    assert not capsys.readouterr().err


def test_a_tokenizer_without_names(tmp_path: Path) -> None:
    tokenizer_of("roberta").save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="names no special tokens") as caught:
        load_tokenizer(str(tmp_path))
    assert "add the tokenizer_config.json" in caught.value.remedy


def test_parts_of_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").touch()
    with pytest.raises(UserError, match=r"holds vocab\.json, merges\.txt, but no tokenizer\.json") as caught:
        load_tokenizer(str(tmp_path))
    assert "RobertaTokenizer.from_pretrained(FOLDER)" in caught.value.remedy
