"""The shape in a recipe is a BERT's or a ModernBERT's, and becomes the configuration of a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tokenizer_families import tokenizer_of
from transformers import AutoModelForMaskedLM, BertConfig, ModernBertConfig

from llmkit.models.checkpoint import fresh_config
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import ModelSection, PretrainRecipe
from llmkit.recipes.reading import dump, read_recipe
from llmkit.recipes.shapes import BertShape, ModernBertShape
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS

pytestmark = pytest.mark.oldest
TINY = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48}
MODERN = "model.config={model_type: modernbert, hidden_size: 32, num_attention_heads: 2}"


def modern(**fields: object) -> ModernBertShape:
    return ModernBertShape.model_validate({"model_type": "modernbert", **TINY, **fields})


class TestReading:
    def test_a_shape_of_no_type_is_a_bert(self) -> None:
        assert isinstance(ModelSection.model_validate({"config": TINY}).config, BertShape)

    def test_a_type_chosen_on_the_command_line(self) -> None:
        recipe = read_recipe(PretrainRecipe, "tiny/modernbert", ["model.config.hidden_size=96"])
        assert isinstance(recipe.model.config, ModernBertShape)
        assert (recipe.model.config.hidden_size, recipe.model.config.num_hidden_layers) == (96, 3)

    def test_what_is_recorded_is_read_again(self, tmp_path: Path) -> None:
        recipe = read_recipe(PretrainRecipe, "tiny/modernbert")
        (tmp_path / "recipe.yaml").write_text(dump(recipe))
        assert read_recipe(PretrainRecipe, str(tmp_path / "recipe.yaml")) == recipe

    @pytest.mark.parametrize(
        ("override", "told"),
        [
            ("model.config.hidden_act=relu", "hidden_act: unknown key (did you mean hidden_activation?)"),
            ("model.config.model_type=gpt2", "model_type: should be 'bert' or 'modernbert', got 'gpt2'"),
            ("model.config.model_type=3", "model_type: should be 'bert' or 'modernbert', got 3"),
            ("model.config.model_type=null", "model_type: should be 'bert' or 'modernbert', got None"),
            ("model.config.bert=1", "model.config.bert: unknown key; known keys: model_type, hidden_size"),
            ("model.attention_probs_dropout_prob=0.1", "no effect with config: set config.attention_dropout"),
            ("model.config.hidden_size=65", "hidden_size 65 is not divisible by num_attention_heads 2"),
            ("model.config.hidden_size=66", "makes heads of 33: rotary positions turn pairs of numbers"),
            ("model.config.local_attention=15", "local_attention: should be a multiple of 2, got 15"),
            ("model.config.model_type=bert", "local_attention: unknown key"),
            ("corpus.block_size=256", "corpus.block_size 256 exceeds model.config.max_position_embeddings 128"),
        ],
    )
    def test_a_problem_names_its_key(self, override: str, told: str) -> None:
        with pytest.raises(UserError) as caught:
            read_recipe(PretrainRecipe, "tiny/modernbert", [override])
        assert told in str(caught.value)
        assert "model.config.modernbert" not in str(caught.value)

    def test_a_shape_on_the_command_line_takes_the_place_of_a_checkpoint(self, tmp_path: Path) -> None:
        file = tmp_path / "continued.yaml"
        section = "model: {pretrained: x, attention_probs_dropout_prob: 0.1, max_position_embeddings: 512}"
        file.write_text(f"name: x\ncorpus: {{path: shards}}\n{section}\ntrain: {{max_steps: 1}}\n")
        recipe = read_recipe(PretrainRecipe, str(file), [MODERN])
        assert recipe.model.model_fields_set == {"config"}

    def test_an_encoder_of_texts_into_texts_is_none(self) -> None:
        with pytest.raises(UserError, match=r"model\.config: a ModernBERT reads only.*model_type: bert"):
            read_recipe(FinetuneRecipe, "tiny/translation", [MODERN, "model.vocab_size=300"], tasks=TASKS)

    def test_fine_tuning_takes_either(self) -> None:
        recipe = read_recipe(FinetuneRecipe, "tiny/squad", [MODERN, "model.tokenizer=some"], tasks=TASKS)
        assert isinstance(recipe.model.config, ModernBertShape)


class TestConfig:
    def test_a_bert(self) -> None:
        tokenizer = tokenizer_of("bert-uncased")
        config = fresh_config(BertShape(**TINY), tokenizer)
        assert config.to_dict() == BertConfig(vocab_size=len(tokenizer), pad_token_id=0, **TINY).to_dict()

    @pytest.mark.parametrize("name", ["bert-uncased", "modernbert"])
    def test_the_special_tokens_of_a_modernbert_are_the_tokenizers(self, name: str) -> None:
        tokenizer = tokenizer_of(name)
        config = fresh_config(modern(), tokenizer)
        assert isinstance(config, ModernBertConfig)
        assert (config.vocab_size, config.pad_token_id) == (len(tokenizer), tokenizer.pad_token_id)
        assert config.cls_token_id == config.bos_token_id == tokenizer.cls_token_id
        assert config.sep_token_id == config.eos_token_id == tokenizer.sep_token_id

    def test_layers_and_positions(self) -> None:
        config = fresh_config(modern(global_attn_every_n_layers=2, local_attention=16), tokenizer_of("modernbert"))
        model = AutoModelForMaskedLM.from_config(config)
        assert config.layer_types == ["full_attention", "sliding_attention"] * 2
        assert config.sliding_window == 8
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight

    @pytest.mark.parametrize(
        ("fields", "theta"),
        [
            ({"max_position_embeddings": 1024}, 10_000.0),
            ({"max_position_embeddings": 2048}, 160_000.0),
            ({"max_position_embeddings": 1024, "global_rope_theta": 5000.0}, 5000.0),
        ],
    )
    def test_the_base_of_rotary_positions_follows_the_context(self, fields: dict[str, int], theta: float) -> None:
        config = fresh_config(modern(**fields), tokenizer_of("modernbert"))
        assert config.rope_parameters["full_attention"]["rope_theta"] == theta
        assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000.0
