"""Vocabularies: the same in every process, of every character that matters, in every script, saved as they are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import BertTokenizer

from llmkit.corpus.tokenizer import load_tokenizer, tokenizer_fingerprint
from llmkit.corpus.vocabularies import train_tokenizer
from llmkit.system.errors import UserError

TEXTS = ["The red ship sails north.", "A town, small and old!", "Émile said [MASK] — twice.", "Ships sail."] * 12


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(lambda: iter(TEXTS), 120, lowercase=True)


def test_vocabulary_is_the_same_in_every_process() -> None:
    code = (
        "from llmkit.corpus.tokenizer import tokenizer_fingerprint\n"
        "from llmkit.corpus.vocabularies import train_tokenizer\n"
        "texts = [f'w{n % 17}x y{n % 5} é{n % 11}z [!]' for n in range(400)]\n"
        "found = tokenizer_fingerprint(train_tokenizer(lambda: iter(texts), 90, lowercase=False))\n"
    )
    here: dict[str, Any] = {}
    exec(code, here)
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"{code}print(found)"],
        env={**os.environ, "PYTHONHASHSEED": "17"},  # here it is a random one
        capture_output=True,
        text=True,
        check=True,
    )
    assert elsewhere.stdout.strip() == here["found"]


def test_vocabulary_size_case_and_saving(tokenizer: Any, tmp_path: Path) -> None:
    assert len(tokenizer) <= 120
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 4]) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer("SHIP")["input_ids"] == tokenizer("ship")["input_ids"]
    cased = train_tokenizer(lambda: iter(TEXTS), 120, lowercase=False)
    assert cased("Ship")["input_ids"] != cased("ship")["input_ids"]
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    assert tokenizer_fingerprint(again) == tokenizer_fingerprint(tokenizer)
    assert isinstance(again, BertTokenizer)
    with pytest.raises(UserError, match="smaller than the corpus's alphabet"):
        train_tokenizer(lambda: iter(["".join(map(chr, range(97, 123))) * 3] * 5), 30, lowercase=True)
