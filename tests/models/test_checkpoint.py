"""The model that a name means: of a run, of a folder, or of the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tasks import letters
from transformers import BertConfig, BertModel

from llmkit.models.checkpoint import Checkpoint
from llmkit.system.errors import UserError


def test_a_run_means_its_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    (tmp_path / "recipe.yaml").touch()
    assert Checkpoint.named(str(tmp_path)).path == str(tmp_path / "model")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_checkpoint_means_itself(tmp_path: Path, file: str) -> None:
    (tmp_path / file).touch()
    assert Checkpoint.named(str(tmp_path)).path == str(tmp_path)


def test_a_run_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(UserError, match="has no finished model") as caught:
        Checkpoint.named(str(tmp_path))
    assert "--resume" in caught.value.remedy


def test_a_folder_that_is_neither(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither a run nor a checkpoint \(no config\.json\)"):
        Checkpoint.named(str(tmp_path))


@pytest.mark.parametrize("name", ["/no/such", "./no", "../no", "~/no", "runs/a/b", "runs/"])
def test_a_path_that_is_not_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the folder that the tests run in may hold runs
    with pytest.raises(UserError, match="no such run or checkpoint"):
        Checkpoint.named(name)


@pytest.mark.parametrize("name", ["google-bert/bert-base-uncased", "bert-base-uncased"])
def test_anything_else_is_a_hub_id(name: str) -> None:
    assert Checkpoint.named(name).path == name


def test_a_pretrained_run_is_not_given_what_its_model_does_not_read(tmp_path: Path) -> None:
    """Pretraining saves the tokenizer of its corpus, whose names know nothing of the model."""
    tokenizer = letters()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(tokenizer), type_vocab_size=1, **shape)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "recipe.yaml").touch()
    assert "token_type_ids" in tokenizer.model_input_names
    for name in (tmp_path, tmp_path / "model"):
        assert Checkpoint.named(str(name)).tokenizer().model_input_names == ["input_ids", "attention_mask"]
