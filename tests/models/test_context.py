"""A ModernBERT that is continued may be lengthened: its positions and the base of the rotary ones, not its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.families import write_encoder
from support.tokenizer_families import tokenizer_of
from transformers import AutoModelForMaskedLM

from llmkit.models.checkpoint import Checkpoint
from llmkit.models.context import lengthened
from llmkit.models.masked_lm import model_for_pretraining
from llmkit.recipes.pretraining import ModelSection, PretrainRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.system.errors import UserError

pytestmark = pytest.mark.oldest


@pytest.fixture(scope="module")
def modernbert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One of 64 positions, whose rotary base is 160,000: that is what its configuration says by default."""
    return str(write_encoder("ModernBERT", tmp_path_factory.mktemp("modernbert")))


@pytest.fixture(scope="module")
def short(modernbert: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with a base of 10,000, as ours have it up to 1,024 positions."""
    folder = tmp_path_factory.mktemp("short")
    model = AutoModelForMaskedLM.from_pretrained(modernbert)
    model.config.rope_parameters["full_attention"]["rope_theta"] = 10_000.0
    model.save_pretrained(folder)
    tokenizer_of("modernbert").save_pretrained(folder)
    return str(folder)


def base(config: object) -> float:
    theta: float = config.rope_parameters["full_attention"]["rope_theta"]  # type: ignore[attr-defined]
    return theta


def test_nothing_changes_unless_asked(short: str) -> None:
    checkpoint = Checkpoint.named(short)
    assert lengthened(checkpoint, None) is checkpoint.config


@pytest.mark.parametrize(
    ("positions", "theta", "told"),
    [
        (1024, 10_000.0, "lengthened from 64 to 1,024 positions; the base of the rotary ones is as before"),
        (2048, 160_000.0, "lengthened from 64 to 2,048 positions; the base of the rotary ones is 160,000, was 10,000"),
    ],
)
def test_the_base_follows_the_positions(
    positions: int, theta: float, told: str, short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Checkpoint.named(short)
    config = lengthened(checkpoint, positions)
    assert (config.max_position_embeddings, base(config)) == (positions, theta)
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000.0
    assert (checkpoint.config.max_position_embeddings, base(checkpoint.config)) == (64, 10_000.0)
    assert told in capsys.readouterr().err


def test_a_larger_base_stays(modernbert: str) -> None:
    assert base(lengthened(Checkpoint.named(modernbert), 1024)) == 160_000.0


def test_a_lengthened_model_reads_longer_blocks_with_the_same_weights(short: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of("modernbert")
    with pytest.raises(UserError, match=r"block_size 128 exceeds the 64 positions") as caught:
        model_for_pretraining(ModelSection(pretrained=short), tokenizer, 128)
    assert "lengthen it: model.max_position_embeddings=128" in caught.value.remedy
    model = model_for_pretraining(ModelSection(pretrained=short, max_position_embeddings=2048), tokenizer, 128)
    frequencies = model.base_model.rotary_emb.full_attention_inv_freq
    torch.testing.assert_close(frequencies, 160_000.0 ** (-torch.arange(0, 16, 2) / 16))
    model.save_pretrained(tmp_path)
    plain = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert (plain.config.max_position_embeddings, base(plain.config)) == (2048, 160_000.0)
    before = AutoModelForMaskedLM.from_pretrained(short).state_dict()
    assert all(torch.equal(weights, before[name]) for name, weights in plain.state_dict().items())
    assert Checkpoint.named(str(tmp_path)).positions == 2048


def test_a_shorter_context_is_no_change(short: str) -> None:
    with pytest.raises(UserError, match=r"max_position_embeddings 32: .* already reads 64 tokens"):
        lengthened(Checkpoint.named(short), 32)


def test_others_are_not_lengthened(tmp_path: Path) -> None:
    folder = write_encoder("BERT", tmp_path)
    with pytest.raises(UserError, match="is a bert model, and only a ModernBERT can be lengthened"):
        lengthened(Checkpoint.named(str(folder)), 128)


def test_the_recipe() -> None:
    recipe = read_recipe(PretrainRecipe, "modernbert-mini-long", ["model.pretrained=runs/mine"])
    assert (recipe.model.pretrained, recipe.model.max_position_embeddings) == ("runs/mine", 2048)
    with pytest.raises(UserError, match=r"corpus\.block_size 4096 exceeds model\.max_position_embeddings 2048"):
        read_recipe(PretrainRecipe, "modernbert-mini-long", ["corpus.block_size=4096"])
    fresh = read_recipe(PretrainRecipe, "modernbert-mini-long", ["model.config={model_type: modernbert}"])
    assert fresh.model.max_position_embeddings is None
    with pytest.raises(UserError, match="max_position_embeddings has no effect with config"):
        read_recipe(PretrainRecipe, "tiny/modernbert", ["model.max_position_embeddings=256"])
