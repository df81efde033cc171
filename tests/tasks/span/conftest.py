"""A vocabulary of letters and a few words."""

from __future__ import annotations

import pytest
from support.spans import PIECES
from transformers import BertTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(dict.fromkeys(PIECES))})
