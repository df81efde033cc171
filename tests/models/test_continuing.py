"""What a checkpoint must allow to be continued; a ModernBERT may be lengthened, without a change of its weights."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from support import Command
from support.families import write_encoder
from support.tokenizer_families import tokenizer_of
from transformers import AutoModelForMaskedLM, BartConfig, BertTokenizer

from llmkit.models.checkpoint import Checkpoint
from llmkit.models.continuing import lengthen, to_continue
from llmkit.models.masked_lm import model_for_pretraining
from llmkit.recipes.pretraining import ModelSection, PretrainRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.recipes.shapes import ModernBertShape
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


@pytest.mark.parametrize(
    ("positions", "theta", "told"),
    [
        (1024, 10_000.0, "lengthened from 64 to 1,024 positions; the base of the rotary ones is as before"),
        (2048, 160_000.0, "lengthened from 64 to 2,048 positions; the base of the rotary ones is 160,000, was 10,000"),
    ],
)
def test_the_base_follows_the_positions(positions: int, theta: float, told: str, short: str) -> None:
    config = deepcopy(Checkpoint.named(short).config)
    assert told in lengthen(config, positions, short)
    assert (config.max_position_embeddings, base(config)) == (positions, theta)
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000.0


def test_a_larger_base_stays(modernbert: str) -> None:
    config = deepcopy(Checkpoint.named(modernbert).config)
    lengthen(config, 1024, modernbert)
    assert base(config) == 160_000.0


def test_a_lengthened_model_reads_longer_blocks_with_the_same_weights(
    short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = tokenizer_of("modernbert")
    with pytest.raises(UserError, match=r"block_size 128 exceeds the 64 positions") as caught:
        model_for_pretraining(ModelSection(pretrained=short), tokenizer, 128)
    assert "lengthen it: model.max_position_embeddings=128" in caught.value.remedy
    model = model_for_pretraining(ModelSection(pretrained=short, max_position_embeddings=2048), tokenizer, 128)
    assert f"{short}: lengthened from 64 to 2,048 positions" in capsys.readouterr().err
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
        to_continue(ModelSection(pretrained=short, max_position_embeddings=32), 16)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model.pretrained": "./none"}, "no such run or checkpoint: ./none"),
        ({"model.pretrained": "./bart"}, "./bart is an encoder-decoder"),
        ({"corpus.block_size": "65"}, "corpus.block_size 65 exceeds the 64 positions of ./bert"),
        (
            {"model.max_position_embeddings": "128"},
            "./bert is a bert model, and only a ModernBERT can be lengthened",
        ),
        ({"corpus.tokenizer": "{path: other}"}, "was tokenized with another vocabulary than that of ./bert"),
        ({"corpus.tokenizer": "{path: larger}"}, "but the vocabulary of ./bert only "),
    ],
)
def test_what_is_wrong_is_said_before_text_is_tokenized(
    changes: dict[str, str], told: str, tmp_path: Path, llmkit: Command
) -> None:
    write_encoder("BERT", tmp_path / "bert")
    BartConfig().save_pretrained(tmp_path / "bart")
    tokens = list(tokenizer_of("bert-uncased").get_vocab())
    for name, kept in (("other", [*tokens[:9], *reversed(tokens[9:])]), ("larger", [*tokens, "velmora"])):
        BertTokenizer(vocab={token: number for number, token in enumerate(kept)}).save_pretrained(tmp_path / name)
    (tmp_path / "text.txt").write_text("A lamp.\n" * 100)
    settings = {
        "corpus.sources": "[text.txt]",
        "corpus.tokenizer": "{path: bert}",
        "corpus.block_size": "32",
        "model.pretrained": "./bert",
    }
    given = [f"{key}={value}" for key, value in {**settings, **changes}.items()]
    code, _, err = llmkit("pretrain", "-r", "tiny/pretrain", *given)
    assert code == 1
    assert told in err
    assert "tokenized 1" not in err


def test_the_recipe_continues_that_of_modernbert_mini_on_its_corpus() -> None:
    before, after = (read_recipe(PretrainRecipe, f"modernbert-mini{end}") for end in ("", "-long"))
    assert isinstance(before.model.config, ModernBertShape)
    assert (after.model.pretrained, after.model.max_position_embeddings) == (f"runs/{before.name}", 2048)
    assert after.model.max_position_embeddings > before.model.config.max_position_embeddings
    assert after.corpus.block_size > before.corpus.block_size
    assert (after.corpus.sources, after.corpus.tokenizer) == (before.corpus.sources, before.corpus.tokenizer)
    assert after.train.learning_rate < before.train.learning_rate
    other = read_recipe(PretrainRecipe, "modernbert-mini-long", ["model.pretrained=runs/mine", "corpus.path=shards"])
    assert other.corpus.sources is None


def test_problems_of_the_recipe() -> None:
    with pytest.raises(UserError, match=r"corpus\.block_size 4096 exceeds model\.max_position_embeddings 2048"):
        read_recipe(PretrainRecipe, "modernbert-mini-long", ["corpus.block_size=4096"])
    fresh = read_recipe(PretrainRecipe, "modernbert-mini-long", ["model.config={model_type: modernbert}"])
    assert fresh.model.max_position_embeddings is None
    with pytest.raises(UserError, match="max_position_embeddings has no effect with config"):
        read_recipe(PretrainRecipe, "tiny/modernbert", ["model.max_position_embeddings=256"])
