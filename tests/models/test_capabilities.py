"""What a model can read is what it says that it can, in every family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import quick_or_slow
from support.families import FAMILIES, encoder_config, write_encoder
from transformers import AutoModel, AutoTokenizer, BartConfig, EncoderDecoderConfig, RobertaConfig, T5Config

from llmkit.models.capabilities import inputs_of, positions_of, skeleton
from llmkit.models.checkpoint import Checkpoint, check_length
from llmkit.system.errors import UserError

pytestmark = pytest.mark.oldest
TABLES = {name for name in FAMILIES if not name.startswith(("DeBERTa", "Funnel"))}
SEGMENTS = {"BERT", "ELECTRA", "ALBERT", "BigBird", "Funnel"}
ROTARY = {"ModernBERT", "mmBERT", "EuroBERT"}
QUICK = {"BERT", "RoBERTa", "DistilBERT", "DeBERTa v3", "ModernBERT"}
NAMES = ["input_ids", "token_type_ids", "attention_mask"]


@pytest.mark.parametrize("family", quick_or_slow(FAMILIES, QUICK))
def test_positions(family: str) -> None:
    """64 tokens fit, of 64 positions or of RoBERTa's 66; and no more, where there is a table of them."""
    model = AutoModel.from_config(encoder_config(family)).eval()
    assert positions_of(model) == positions_of(skeleton(model.config)) == (64 if family in TABLES else None)

    def read(length: int) -> None:
        ids = torch.full((1, length), 7)
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))

    read(64)
    if family in TABLES - ROTARY:
        with pytest.raises((RuntimeError, IndexError)):
            read(65)
    else:
        read(65)


def test_positions_of_other_models() -> None:
    assert positions_of(skeleton(BartConfig(encoder_layers=1, decoder_layers=1))) == 1024
    assert positions_of(skeleton(T5Config(num_layers=1))) is None


@pytest.mark.parametrize("family", quick_or_slow(FAMILIES, QUICK))
def test_a_model_takes_what_its_tokenizer_gives(family: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.named(str(write_encoder(family, tmp_path)))
    tokenizer = checkpoint.tokenizer()
    tokenizer.save_pretrained(tmp_path)
    again, model = AutoTokenizer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path).eval()
    assert again.model_input_names == tokenizer.model_input_names
    assert ("token_type_ids" in again.model_input_names) == (
        family in {"BERT", "ELECTRA", "ALBERT", "BigBird", "Funnel"}
    )
    model(**again("A lamp", "by the sea", return_tensors="pt"))


def test_halves_of_an_encoder_decoder(tmp_path: Path) -> None:
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9, "pad_token_id": 1}
    encoder, decoder = (RobertaConfig(max_position_embeddings=size, **shape) for size in (66, 34))
    EncoderDecoderConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict()).save_pretrained(tmp_path)
    checkpoint = Checkpoint.named(str(tmp_path))
    assert (checkpoint.positions, checkpoint.target_positions) == (64, 32)


def test_segments_of_one_kind_are_none() -> None:
    one, two = (skeleton(RobertaConfig(type_vocab_size=size, num_hidden_layers=1)) for size in (1, 2))
    assert (inputs_of(one, NAMES), inputs_of(two, NAMES)) == ([NAMES[0], NAMES[2]], NAMES)


def test_the_advice_on_a_length_works() -> None:
    with pytest.raises(UserError, match=r"data\.max_length 66 exceeds the 64 positions of x") as caught:
        check_length(66, 64, "x")
    assert "set data.max_length=64" in caught.value.remedy
    check_length(64, 64, "x")


@pytest.mark.slow  # transformers lists all models in its message
def test_what_is_not_an_encoder_of_text(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "trocr"}')
    with pytest.raises(UserError, match="it is a trocr model, not an encoder of text"):
        _ = Checkpoint.named(str(tmp_path)).positions
