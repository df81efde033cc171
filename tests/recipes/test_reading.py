"""A recipe is read as it was meant: values, overrides and what they replace, and back from its dump."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recipes import only_problem, pretrain_with, problems

from llmkit.recipes.corpus import TokenizeRecipe
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe, TrainSection
from llmkit.recipes.reading import dump, kind_of, read_recipe, recipe_from
from llmkit.recipes.shipped import locate, shipped_recipes
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS

pytestmark = pytest.mark.oldest


class TestValues:
    @pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "0.0001", ".0001", "+1e-4"])
    def test_a_number_in_any_spelling_is_a_number(self, pretrain_file: Path, text: str) -> None:
        recipe = read_recipe(PretrainRecipe, str(pretrain_file), [f"train.learning_rate={text}"])
        assert recipe.train.learning_rate == 1e-4
        pretrain_with(pretrain_file, "1.0e-3", text)
        assert read_recipe(PretrainRecipe, str(pretrain_file)).train.learning_rate == 1e-4

    @pytest.mark.parametrize(("older", "masking"), [("true", "whole_words"), ("false", "tokens")])
    def test_the_older_key_for_whole_words(self, pretrain_file: Path, older: str, masking: str) -> None:
        pretrain_with(pretrain_file, "  block_size: 64", f"  whole_word_mask: {older}")
        recipe = read_recipe(PretrainRecipe, str(pretrain_file))
        assert recipe.corpus.masking == masking
        assert "whole_word_mask" not in dump(recipe)
        assert read_recipe(PretrainRecipe, str(pretrain_file), ["corpus.masking=spans"]).corpus.masking == "spans"

    def test_a_whole_number_stays_one(self, pretrain_file: Path) -> None:
        recipe = read_recipe(PretrainRecipe, str(pretrain_file), ["train.max_steps=1_000", "name='20'"])
        assert recipe.train.max_steps == 1000
        assert recipe.name == "20"

    def test_overrides_are_yaml(self, pretrain_file: Path) -> None:
        recipe = read_recipe(
            PretrainRecipe,
            str(pretrain_file),
            [
                "corpus.masking=spans",
                "corpus.mlm_probability=[3e-1, 0.15]",
                "corpus.sources=[demo, {path: notes.txt, weight: 2.0}, 'more.txt,documents=blank_line,weight=0.5']",
                "model.config={hidden_size: 32, num_attention_heads: 2}",
                "train.bf16=false",
                "name=a=b",
            ],
        )
        assert recipe.corpus.masking == "spans"
        assert recipe.corpus.probabilities == (0.3, 0.15)
        assert recipe.corpus.sources is not None
        assert [(s.path, s.weight, s.documents) for s in recipe.corpus.sources] == [
            ("demo", 1.0, None),
            ("notes.txt", 2.0, None),
            ("more.txt", 0.5, "blank_line"),
        ]
        assert recipe.model.config is not None
        assert (recipe.model.config.hidden_size, recipe.model.config.num_hidden_layers) == (32, 12)
        assert recipe.train.bf16 is False
        assert recipe.name == "a=b"

    def test_an_override_precedes_the_file_and_the_file_the_default(self, pretrain_file: Path) -> None:
        recipe = read_recipe(
            PretrainRecipe, str(pretrain_file), ["train.learning_rate=0.5", "train.learning_rate=0.25"]
        )
        assert recipe.train.learning_rate == 0.25  # the last of two
        assert recipe.train.max_steps == 20  # the file's
        assert recipe.train.seed == TrainSection.model_fields["seed"].default
        assert recipe.model.config is not None
        assert recipe.model.config.hidden_size == 64  # an override of one key leaves the section's others

    def test_an_override_reaches_one_key_of_a_nested_section(self, pretrain_file: Path) -> None:
        recipe = read_recipe(PretrainRecipe, str(pretrain_file), ["model.config.num_hidden_layers=3"])
        assert recipe.model.config is not None
        assert (recipe.model.config.hidden_size, recipe.model.config.num_hidden_layers) == (64, 3)

    def test_a_source_with_an_option_that_is_none(self, pretrain_file: Path) -> None:
        told = only_problem(PretrainRecipe, pretrain_file, "corpus.sources=['demo,weight']")
        assert told.endswith("corpus.sources[0]: 'weight' in 'demo,weight' is not key=value")

    def test_a_source_with_an_unknown_option(self) -> None:
        with pytest.raises(UserError) as caught:
            recipe_from(TokenizeRecipe, {"sources": ["demo,wieght=2"]})
        assert caught.value.problems == ("command line: sources[0].wieght: unknown key (did you mean weight?)",)

    def test_values_in_hand_are_left_as_they_are(self) -> None:
        values: dict[str, Any] = {"sources": ["demo"], "tokenizer": {"lowercase": False}}
        recipe = recipe_from(TokenizeRecipe, values, ["tokenizer.vocab_size=500"])
        assert (recipe.tokenizer.vocab_size, recipe.tokenizer.lowercase) == (500, False)
        assert values == {"sources": ["demo"], "tokenizer": {"lowercase": False}}

    def test_a_recipe_is_frozen(self, pretrain_file: Path) -> None:
        recipe = read_recipe(PretrainRecipe, str(pretrain_file))
        with pytest.raises(ValueError, match="frozen"):
            recipe.name = "other"  # type: ignore[misc]


class TestDisplacing:
    @pytest.mark.parametrize("length", ["time_budget=1h", "num_train_epochs=2"])
    def test_a_length_takes_the_place_of_the_files_own(self, pretrain_file: Path, length: str) -> None:
        train = read_recipe(PretrainRecipe, str(pretrain_file), [f"train.{length}"]).train
        assert train.max_steps is None
        assert train.time_budget == 3600 or train.num_train_epochs == 2

    def test_a_corpus_takes_the_place_of_sources_and_their_tokenizer(self, pretrain_file: Path) -> None:
        corpus = read_recipe(PretrainRecipe, str(pretrain_file), ["corpus.path=data/mine"]).corpus
        assert (corpus.path, corpus.sources, corpus.block_size) == ("data/mine", None, 64)

    def test_sources_take_the_place_of_a_corpus(self, pretrain_file: Path) -> None:
        pretrain_with(pretrain_file, "sources: [demo]\n  tokenizer: {vocab_size: 2000}", "path: data")
        corpus = read_recipe(PretrainRecipe, str(pretrain_file), ["corpus.sources=[demo]"]).corpus
        assert corpus.path is None

    def test_a_checkpoint_takes_the_place_of_a_shape(self, pretrain_file: Path) -> None:
        model = read_recipe(PretrainRecipe, str(pretrain_file), ["model.pretrained=runs/a"]).model
        assert (model.pretrained, model.config) == ("runs/a", None)

    def test_a_shape_takes_the_place_of_a_checkpoint(self, finetune_file: Path) -> None:
        overrides = ["model.config.hidden_size=24", "model.tokenizer=runs/a"]
        model = read_recipe(FinetuneRecipe, str(finetune_file), overrides, tasks=TASKS).model
        assert model.pretrained is None
        assert model.config is not None
        assert (model.config.hidden_size, model.tokenizer) == (24, "runs/a")

    def test_files_take_the_place_of_a_path_and_stand_beside_each_other(self, finetune_file: Path) -> None:
        overrides = ["data.train=a.json", "data.validation=b.json"]
        data = read_recipe(FinetuneRecipe, str(finetune_file), overrides, tasks=TASKS).data
        assert (data.path, data.train, data.validation, data.max_length) == (None, "a.json", "b.json", 128)

    def test_a_path_takes_the_place_of_files(self, finetune_file: Path) -> None:
        pretrain_with(finetune_file, "path: demo", "train: a.json, validation: b.json")
        data = read_recipe(FinetuneRecipe, str(finetune_file), ["data.path=demo"], tasks=TASKS).data
        assert (data.path, data.train, data.validation) == ("demo", None, None)

    def test_a_recipe_that_names_no_data_takes_the_tasks_own(self, finetune_file: Path) -> None:
        pretrain_with(finetune_file, "path: demo, ", "")
        data = read_recipe(FinetuneRecipe, str(finetune_file), tasks=TASKS).data
        assert (data.path, data.max_length) == ("rajpurkar/squad", 128)

    def test_a_task_takes_the_place_of_the_files_own_with_its_data_and_name(self, finetune_file: Path) -> None:
        recipe = read_recipe(FinetuneRecipe, str(finetune_file), ["task=squad_v2"], tasks=TASKS)
        assert (recipe.task, recipe.name) == ("squad_v2", "squad_v2")
        assert (recipe.data.path, recipe.data.max_length) == ("rajpurkar/squad_v2", 128)
        overrides = ["task=squad_v2", "data.validation=b.json", "data.train=a.json", "name=mine"]
        for order in (overrides, overrides[::-1]):
            recipe = read_recipe(FinetuneRecipe, str(finetune_file), order, tasks=TASKS)
            assert (recipe.name, recipe.data.path, recipe.data.train) == ("mine", None, "a.json")

    def test_the_files_own_task_said_again_changes_nothing(self, finetune_file: Path) -> None:
        same = read_recipe(FinetuneRecipe, str(finetune_file), ["task=squad"], tasks=TASKS)
        assert same == read_recipe(FinetuneRecipe, str(finetune_file), tasks=TASKS)

    @pytest.mark.parametrize("name", [name for name in TASKS if name.startswith("glue/")])
    def test_one_recipe_serves_all_of_glue(self, name: str) -> None:
        recipe = read_recipe(FinetuneRecipe, TASKS[name].recipe, [f"task={name}"], tasks=TASKS)
        assert recipe.name == name.replace("/", "-")
        assert (recipe.data.path, recipe.data.name) == ("nyu-mll/glue", name.removeprefix("glue/"))

    def test_a_task_of_another_kind_is_refused(self, finetune_file: Path) -> None:
        with pytest.raises(UserError, match="override task=glue/cola: the recipe is for squad") as caught:
            read_recipe(FinetuneRecipe, str(finetune_file), ["task=glue/cola"], tasks=TASKS)
        assert "--task glue/cola" in caught.value.remedy

    def test_two_alternatives_on_one_command_line_are_refused(self, pretrain_file: Path) -> None:
        told = problems(PretrainRecipe, pretrain_file, "train.max_steps=5", "train.time_budget=5s")
        assert any("give exactly one of" in one for one in told)


class TestTimeBudgets:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("90s", 90),
            ("30m", 1800),
            ("1h30m", 5400),
            ("1h", 3600),
            ("1.5h", 5400),
            ("2m30s", 150),
            ("45", 45),
            ("0.5", 0.5),
        ],
    )
    def test_are_seconds(self, pretrain_file: Path, text: str, seconds: float) -> None:
        assert (
            read_recipe(PretrainRecipe, str(pretrain_file), [f"train.time_budget={text}"]).train.time_budget == seconds
        )

    @pytest.mark.parametrize("text", ["soon", "1d", "h", "30 m", "1h30", "-5s", "'90'", "''", "1h!30m"])
    def test_garbage_is_refused(self, pretrain_file: Path, text: str) -> None:
        told = only_problem(PretrainRecipe, pretrain_file, f"train.time_budget={text}")
        assert (
            told == f"override train.time_budget={text}: train.time_budget: should be a time such as 90s, 30m or 1h30m"
        )

    @pytest.mark.parametrize("text", ["0", "-3", "0s", "true", "[1]"])
    def test_no_time_is_refused(self, pretrain_file: Path, text: str) -> None:
        assert "train.time_budget" in only_problem(PretrainRecipe, pretrain_file, f"train.time_budget={text}")


class TestDump:
    @pytest.mark.parametrize("name", shipped_recipes())
    def test_every_shipped_recipe_reads_back_as_it_was(self, name: str, tmp_path: Path) -> None:
        kind = kind_of(locate(name))
        recipe = read_recipe(kind, name, tasks=TASKS)
        path = tmp_path / "recipe.yaml"
        path.write_text(dump(recipe), encoding="utf-8")
        assert kind_of(path) is kind
        assert read_recipe(kind, str(path), tasks=TASKS) == recipe

    @pytest.mark.parametrize(
        "overrides",
        [
            ["corpus.path=data", "train.time_budget=90s"],
            ["corpus.tokenizer={path: google-bert/bert-base-uncased}"],
            ["model.pretrained=runs/a", "train.bf16=true", "name='Ünïcode: x'"],
            ["corpus.sources=[{path: a.txt, weight: 0.5, documents: blank_line}]"],
        ],
    )
    def test_alternatives_read_back(self, pretrain_file: Path, overrides: list[str]) -> None:
        recipe = read_recipe(PretrainRecipe, str(pretrain_file), overrides)
        pretrain_file.write_text(dump(recipe), encoding="utf-8")
        assert read_recipe(PretrainRecipe, str(pretrain_file)) == recipe

    def test_the_dump_is_what_safe_load_reads_too(self, pretrain_file: Path) -> None:
        recipe = read_recipe(PretrainRecipe, str(pretrain_file), ["train.adam_epsilon=1e-8"])
        assert yaml.safe_load(dump(recipe))["train"]["adam_epsilon"] == 1e-8

    @settings(max_examples=settings.default.max_examples // 4)
    @given(
        rate=st.floats(1e-12, 1, exclude_max=True),
        seed=st.integers(0, 2**32 - 1),
        budget=st.floats(1e-3, 1e7),
        share=st.floats(0, 1, exclude_max=True),
        bf16=st.sampled_from([True, False, "auto"]),
        name=st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1),
    )
    def test_any_values_read_back(
        self, rate: float, seed: int, budget: float, share: float, bf16: bool | str, name: str
    ) -> None:
        train = {"learning_rate": rate, "seed": seed, "time_budget": budget, "warmup_steps": share, "bf16": bf16}
        values = {"name": name, "corpus": {"path": name}, "model": {"pretrained": name}, "train": train}
        recipe = recipe_from(PretrainRecipe, values)
        again = recipe_from(PretrainRecipe, yaml.safe_load(dump(recipe)))
        assert again == recipe
