"""Tokens that were added to a vocabulary get embeddings; another tokenizer is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tasks import letters
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
)
from transformers import BertForMaskedLM as PlainBert

from llmkit.models.checkpoint import Checkpoint
from llmkit.models.masked_lm import model_for_pretraining
from llmkit.models.vocabulary import check_same_tokens, check_vocabulary, grow_embeddings
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import ModelSection
from llmkit.recipes.reading import read_recipe
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS
from llmkit.tasks.examples import load_examples

SHAPE: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "max_position_embeddings": 64,
}
NEW = ["[LAMP]", "Velmora"]


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A BERT whose tokenizer has two more tokens, in the folder `bert`."""
    monkeypatch.chdir(tmp_path)
    tokenizer = letters()
    PlainBert(BertConfig(vocab_size=len(tokenizer), **SHAPE)).save_pretrained("bert")
    tokenizer.add_tokens(NEW)
    tokenizer.save_pretrained("bert")
    return tmp_path


def test_fine_tuning(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "rows.jsonl").write_text('{"text": "a [LAMP]", "label": "x"}\n{"text": "b", "label": "y"}\n')
    data = ["data.train=rows.jsonl", "data.validation=rows.jsonl", "model.pretrained=bert", "data.max_length=32"]
    task = TASKS["classification"]
    recipe = read_recipe(FinetuneRecipe, "classification-bert-base", data, tasks=TASKS)
    bert, examples = Checkpoint.named("bert"), load_examples(task, recipe.data, ["train"])["train"]
    codec = task.codec_to_train(recipe, bert, examples)
    model = task.model_to_train(recipe, bert, codec)
    size = len(codec.tokenizer)
    assert f"bert: 2 added tokens ([LAMP], Velmora); the embeddings grow from {size - 2} to {size}" in (
        capsys.readouterr().err
    )
    before = PlainBert.from_pretrained("bert").get_input_embeddings().weight
    assert torch.equal(model.get_input_embeddings().weight[: size - 2], before)
    model.save_pretrained("tuned")
    codec.tokenizer.save_pretrained("tuned")
    plain = AutoModelForSequenceClassification.from_pretrained("tuned")
    inputs = AutoTokenizer.from_pretrained("tuned")("a [LAMP]", return_tensors="pt")
    assert plain.config.vocab_size == size
    assert size - 2 in inputs["input_ids"][0]
    assert torch.isfinite(plain(**inputs).logits).all()


def test_pretraining(checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained("bert")
    model = model_for_pretraining(ModelSection(pretrained="bert"), tokenizer, 64)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert len(model.get_output_embeddings().bias) == model.config.vocab_size == len(tokenizer)


def test_both_halves_of_an_encoder_decoder(checkpoint: Path) -> None:
    (checkpoint / "rows.jsonl").write_text('{"source": "a [LAMP]", "target": "Velmora"}\n')
    data = ["data.train=rows.jsonl", "data.validation=rows.jsonl", "data.max_length=32", "data.max_target_length=32"]
    task = next(task for task in TASKS.values() if task.recipe == "translation-base")
    options = ["model.pretrained=bert", "data.source_column=source", "data.target_column=target"]
    recipe = read_recipe(FinetuneRecipe, "summarization-bert2bert", [f"task={task.name}", *data, *options], tasks=TASKS)
    bert = Checkpoint.named("bert")
    codec = task.codec_to_train(recipe, bert, load_examples(task, recipe.data, ["train"])["train"])
    model: Any = task.model_to_train(recipe, bert, codec)
    assert model.encoder.config.vocab_size == model.decoder.config.vocab_size == len(codec.tokenizer)
    model.save_pretrained("pair")
    assert AutoModelForSeq2SeqLM.from_pretrained("pair").decoder.config.vocab_size == len(codec.tokenizer)


def test_numbers_with_a_gap() -> None:
    known = letters().get_vocab()
    model = PlainBert(BertConfig(vocab_size=len(known), **SHAPE))
    grow_embeddings(model, BertTokenizer(vocab={**known, "Velmora": len(known) + 4}), "x")
    assert model.get_input_embeddings().num_embeddings == len(known) + 5


@pytest.mark.parametrize("form", ["tokenizer.json", "vocab.txt"])
def test_text_of_another_vocabulary_is_refused(form: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokenizers were saved in parts before there was tokenizer.json."""
    own = letters()
    words = [token for token, _ in sorted(own.get_vocab().items(), key=lambda item: item[1])]
    if form == "vocab.txt":
        (checkpoint / "bert" / "tokenizer.json").unlink()
        (checkpoint / "bert" / "tokenizer_config.json").unlink()
        (checkpoint / "bert" / form).write_text("\n".join(words), encoding="utf-8")
    else:
        own.save_pretrained("bert")
    bert = Checkpoint.named("bert")
    check_same_tokens(own, bert)
    shuffled = BertTokenizer(vocab={token: n for n, token in enumerate([*words[:-2], words[-1], words[-2]])})
    with pytest.raises(UserError, match="another vocabulary than that of bert"):
        check_same_tokens(shuffled, bert)
    assert "warning" not in capsys.readouterr().err


def test_a_checkpoint_without_a_tokenizer_is_told(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "bert" / "tokenizer.json").unlink()
    (checkpoint / "bert" / "tokenizer_config.json").unlink()
    check_same_tokens(letters(), Checkpoint.named("bert"))
    told = " ".join(capsys.readouterr().err.split())
    assert "may have been tokenized with another vocabulary than that of bert" in told


def test_another_tokenizer_is_refused() -> None:
    tokenizer = letters()
    size = len(tokenizer)
    check_vocabulary(tokenizer, size, "x", may_grow=False)
    with pytest.raises(UserError, match=f"has {size} tokens, but the vocabulary of x only {size - 1}"):
        check_vocabulary(tokenizer, size - 1, "x", may_grow=True)
    tokenizer.add_tokens(NEW)
    check_vocabulary(tokenizer, size, "x", may_grow=True)
    with pytest.raises(UserError, match="only"):
        check_vocabulary(tokenizer, size, "x", may_grow=False)
