"""A vocabulary, and a checkpoint of a few thousand random weights to fine-tune."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.labels import PIECES, SHAPE
from transformers import BertConfig, BertForMaskedLM, BertTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, tokenizer: BertTokenizer) -> Path:
    """A checkpoint of a few thousand random weights, to fine-tune."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(**SHAPE)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
