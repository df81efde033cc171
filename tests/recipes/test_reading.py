"""Recipes: what is wrong with one is said all at once, with its place; what is right is read as it was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe, Section, TokenizeRecipe, TrainSection
from llmkit.recipes.reading import dump, kind_of, read_recipe, recipe_from
from llmkit.recipes.shipped import FOLDER, locate, shipped_recipes, summary
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS

pytestmark = pytest.mark.oldest

PRETRAIN = """\
# A recipe for tests. It is never run.
name: small
corpus:
  sources: [demo]
  tokenizer: {vocab_size: 2000}
  block_size: 64
model:
  config: {hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2}
train:
  max_steps: 20
  learning_rate: 1.0e-3
"""
FINETUNE = """\
name: small
task: squad
model: {pretrained: runs/small}
data: {path: demo, max_length: 128, doc_stride: 32}
train: {max_steps: 20}
"""


@pytest.fixture
def pretrain_file(tmp_path: Path) -> Path:
    path = tmp_path / "pretrain.yaml"
    path.write_text(PRETRAIN, encoding="utf-8")
    return path


@pytest.fixture
def finetune_file(tmp_path: Path) -> Path:
    path = tmp_path / "finetune.yaml"
    path.write_text(FINETUNE, encoding="utf-8")
    return path


def problems(kind: type[Section], path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        read_recipe(kind, str(path), overrides, tasks=TASKS)
    assert caught.value.remedy
    return caught.value.problems


def only_problem(kind: type[Section], path: Path, *overrides: str) -> str:
    (problem,) = problems(kind, path, *overrides)
    return problem


def pretrain_with(path: Path, old: str, new: str) -> Path:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


class TestWhatIsWrong:
    def test_an_unknown_key_has_its_line_and_the_key_that_was_meant(self, pretrain_file: Path) -> None:
        pretrain_with(pretrain_file, "learning_rate", "learing_rate")
        assert only_problem(PretrainRecipe, pretrain_file) == (
            f"{pretrain_file}:11: train.learing_rate: unknown key (did you mean learning_rate?)"
        )

    def test_an_unknown_key_like_no_other_lists_the_known_ones(self, pretrain_file: Path) -> None:
        pretrain_with(pretrain_file, "block_size: 64", "zzz: 64")
        told = only_problem(PretrainRecipe, pretrain_file)
        assert told.startswith(f"{pretrain_file}:6: corpus.zzz: unknown key; known keys: path, sources, tokenizer,")
        assert "did you mean" not in told

    def test_an_unknown_section(self, pretrain_file: Path) -> None:
        pretrain_with(pretrain_file, "train:", "trian:")
        assert problems(PretrainRecipe, pretrain_file) == (
            f"{pretrain_file}: train: missing",
            f"{pretrain_file}:9: trian: unknown key (did you mean train?)",
        )

    @pytest.mark.parametrize(
        ("override", "told"),
        [
            ("train.max_steps=many", "train.max_steps: should be a valid integer, got 'many'"),
            ("train.max_steps=1.5", "train.max_steps: should be a valid integer, got 1.5"),
            ("train.max_steps=0", "train.max_steps: should be greater than 0, got 0"),
            ("train.learning_rate=true", "train.learning_rate: should be a valid number, got True"),
            ("train.learning_rate=2", "train.learning_rate: should be less than 1, got 2"),
            ("train.weight_decay=-1", "train.weight_decay: should be greater than or equal to 0, got -1"),
            (
                "corpus.whole_word_mask=yes please",
                "corpus.whole_word_mask: should be a valid boolean, got 'yes please'",
            ),
            ("corpus.whole_word_mask=1", "corpus.whole_word_mask: should be a valid boolean, got 1"),
            ("train.lr_scheduler_type=step", "train.lr_scheduler_type: should be 'linear', 'cosine' or 'constant'"),
            ("train.time_budget=.inf", "train.time_budget: should be a finite number, got inf"),
            ("train.weight_decay=.nan", "train.weight_decay: should be a finite number, got nan"),
            ("name=3", "name: should be a valid string, got 3"),
            ("train=3", "train: should be a valid dictionary"),
            ("model.config.hidden_size=[1]", "model.config.hidden_size: should be a valid integer, got [1]"),
            ("corpus.sources=[3]", "corpus.sources[0]: should be a valid dictionary"),
            ("corpus.sources=demo", "corpus.sources: should be a valid list, got 'demo'"),
        ],
    )
    def test_a_wrong_type_or_value_has_its_place(self, pretrain_file: Path, override: str, told: str) -> None:
        assert only_problem(PretrainRecipe, pretrain_file, override).startswith(f"override {override}: {told}")

    def test_a_bf16_that_is_neither_yes_nor_no_nor_auto_is_told_by_the_key_that_was_written(
        self, pretrain_file: Path
    ) -> None:
        for told in problems(PretrainRecipe, pretrain_file, "train.bf16=maybe"):
            assert told.startswith("override train.bf16=maybe: train.bf16: should be ")

    def test_all_problems_at_once(self, pretrain_file: Path) -> None:
        pretrain_with(pretrain_file, "block_size: 64", "blok_size: 64")
        pretrain_with(pretrain_file, "max_steps: 20", "max_steps: twenty")
        found = problems(PretrainRecipe, pretrain_file, "train.seed=-1", "nonsense")
        assert len(found) == 4
        assert "override nonsense: not of the form section.key=value" in found
        assert any(told.startswith(f"{pretrain_file}:6: corpus.blok_size: unknown key") for told in found)
        assert any(told.startswith(f"{pretrain_file}:10: train.max_steps: should be") for told in found)
        assert any(told.startswith("override train.seed=-1: train.seed: should be") for told in found)

    def test_the_remedy_counts_the_problems(self, pretrain_file: Path) -> None:
        with pytest.raises(UserError) as caught:
            read_recipe(PretrainRecipe, str(pretrain_file), ["train.seed=-1", "train.weight_decay=x"])
        assert f"recipe {pretrain_file} has 2 problems" in caught.value.remedy
        assert "docs/recipes.md" in caught.value.remedy

    def test_a_key_given_twice(self, pretrain_file: Path) -> None:
        with pretrain_file.open("a", encoding="utf-8") as file:
            file.write("  max_steps: 30\n")
        assert only_problem(PretrainRecipe, pretrain_file) == f"{pretrain_file}:12: train.max_steps: duplicate key"

    def test_a_missing_section_and_key(self, tmp_path: Path) -> None:
        path = tmp_path / "bare.yaml"
        path.write_text("train: {max_steps: 3}\n", encoding="utf-8")
        assert problems(PretrainRecipe, path) == tuple(f"{path}: {key}: missing" for key in ("name", "corpus", "model"))

    def test_broken_yaml_has_its_line(self, pretrain_file: Path) -> None:
        pretrain_with(pretrain_file, "  max_steps: 20", "  max_steps: [20")
        assert only_problem(PretrainRecipe, pretrain_file).startswith(f"{pretrain_file}:11: not valid YAML: ")

    def test_a_tab_has_its_line(self, pretrain_file: Path) -> None:
        pretrain_with(pretrain_file, "  max_steps", "\tmax_steps")
        assert only_problem(PretrainRecipe, pretrain_file).startswith(f"{pretrain_file}:10: not valid YAML: ")

    def test_not_utf8(self, pretrain_file: Path) -> None:
        pretrain_file.write_bytes("# Müller\n".encode("latin-1") + PRETRAIN.encode())
        assert only_problem(PretrainRecipe, pretrain_file) == f"{pretrain_file}: not UTF-8 text (byte 3)"

    @pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n", "# a comment alone\n"])
    def test_not_a_mapping(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "odd.yaml"
        path.write_text(text, encoding="utf-8")
        assert only_problem(PretrainRecipe, path) == f"{path}: not a mapping of sections"

    def test_python_objects_are_not_built(self, tmp_path: Path) -> None:
        path = tmp_path / "evil.yaml"
        path.write_text("name: !!python/object/apply:os.getcwd []\n", encoding="utf-8")
        assert only_problem(PretrainRecipe, path).startswith(f"{path}:1: not valid YAML")

    @pytest.mark.parametrize("override", ["train.max_steps", "=3", ".=3", "train.=3", "train..max_steps=3"])
    def test_an_override_that_is_none(self, pretrain_file: Path, override: str) -> None:
        assert only_problem(PretrainRecipe, pretrain_file, override) == (
            f"override {override}: not of the form section.key=value"
        )

    def test_an_override_that_is_not_yaml(self, pretrain_file: Path) -> None:
        told = only_problem(PretrainRecipe, pretrain_file, "name=[a")
        assert told == "override name=[a: the value is not valid YAML; quote it"

    def test_an_unknown_task(self, finetune_file: Path) -> None:
        pretrain_with(finetune_file, "task: squad", "task: squat")
        told = only_problem(FinetuneRecipe, finetune_file)
        assert told == (f"{finetune_file}:2: task: unknown task (did you mean squad?); tasks are {', '.join(TASKS)}")

    @pytest.mark.parametrize(
        ("kind", "override", "told"),
        [
            (PretrainRecipe, "corpus.path=data", None),  # an alternative, not a problem
            (PretrainRecipe, "corpus.sources=[]", "corpus: sources is empty"),
            (PretrainRecipe, "model.config.num_attention_heads=5", "model.config: hidden_size 64 is not divisible"),
            (PretrainRecipe, "corpus.block_size=1024", "corpus.block_size 1024 exceeds model.config.max_position"),
            (PretrainRecipe, "corpus.tokenizer.path=bert", "corpus.tokenizer: path loads an existing tokenizer"),
            (PretrainRecipe, "model.tokenizer=x", "model.tokenizer: unknown key"),
            (FinetuneRecipe, "model.tokenizer=x", "model: tokenizer has no effect with pretrained"),
            (FinetuneRecipe, "model.config={}", "model: config needs a tokenizer"),
            (
                FinetuneRecipe,
                "data.doc_stride=125",
                "data: doc_stride 125 leaves no room in a window of max_length 128",
            ),
            (FinetuneRecipe, "train.warmup_steps=-1", "train.warmup_steps: should be greater than or equal to 0"),
        ],
    )
    def test_what_has_no_effect_or_cannot_be(
        self, pretrain_file: Path, finetune_file: Path, kind: type[Section], override: str, told: str | None
    ) -> None:
        path = pretrain_file if kind is PretrainRecipe else finetune_file
        if told is None:
            read_recipe(kind, str(path), [override])
        else:
            assert told in only_problem(kind, path, override)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("data: {path: demo, train: a.json}", "data: path includes all splits; train, validation and test have no"),
            ("model: {}", "model: give either pretrained (a checkpoint) or config (a shape)"),
            ("model: {pretrained: a, config: {}}", "model: give either pretrained (a checkpoint) or config (a shape)"),
            ("train: {}", "train: give exactly one of num_train_epochs, max_steps and time_budget"),
            ("train: {max_steps: 3, time_budget: 3s}", "train: give exactly one of num_train_epochs, max_steps and"),
            ("train: {time_budget: 3s, warmup_steps: 10}", "train: with time_budget, warmup_steps must be a fraction"),
        ],
    )
    def test_alternatives_in_one_file(self, finetune_file: Path, text: str, told: str) -> None:
        section = text.partition(":")[0]
        lines = [line for line in FINETUNE.splitlines() if not line.startswith(section)]
        finetune_file.write_text("\n".join([*lines, text]), encoding="utf-8")
        found = problems(FinetuneRecipe, finetune_file)
        assert any(f"{finetune_file}:5: {told}" in one for one in found), found

    def test_a_corpus_of_shards_has_its_tokenizer(self, pretrain_file: Path) -> None:
        pretrain_with(pretrain_file, "sources: [demo]", "path: data")
        assert "corpus: tokenizer has no effect with path" in only_problem(PretrainRecipe, pretrain_file)


class TestValues:
    @pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "0.0001", ".0001", "+1e-4"])
    def test_a_number_in_any_spelling_is_a_number(self, pretrain_file: Path, text: str) -> None:
        recipe = read_recipe(PretrainRecipe, str(pretrain_file), [f"train.learning_rate={text}"])
        assert recipe.train.learning_rate == 1e-4
        pretrain_with(pretrain_file, "1.0e-3", text)
        assert read_recipe(PretrainRecipe, str(pretrain_file)).train.learning_rate == 1e-4

    def test_a_whole_number_stays_one(self, pretrain_file: Path) -> None:
        recipe = read_recipe(PretrainRecipe, str(pretrain_file), ["train.max_steps=1_000", "name='20'"])
        assert recipe.train.max_steps == 1000
        assert recipe.name == "20"

    def test_overrides_are_yaml(self, pretrain_file: Path) -> None:
        recipe = read_recipe(
            PretrainRecipe,
            str(pretrain_file),
            [
                "corpus.whole_word_mask=true",
                "corpus.sources=[demo, {path: notes.txt, weight: 2.0}, 'more.txt,documents=blank_line,weight=0.5']",
                "model.config={hidden_size: 32, num_attention_heads: 2}",
                "train.bf16=false",
                "name=a=b",
            ],
        )
        assert recipe.corpus.whole_word_mask is True
        assert recipe.corpus.sources is not None
        assert [(s.path, s.weight, s.documents) for s in recipe.corpus.sources] == [
            ("demo", 1.0, "file"),
            ("notes.txt", 2.0, "file"),
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

    @settings(max_examples=60)
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


class TestFinding:
    def test_names_and_paths(self, pretrain_file: Path) -> None:
        assert locate("bert-mini") == FOLDER / "pretrain" / "bert-mini.yaml"
        assert locate("tiny/squad") == FOLDER / "tiny" / "squad.yaml"
        assert locate(str(pretrain_file)) == pretrain_file

    def test_an_unknown_name_names_the_nearest(self) -> None:
        with pytest.raises(UserError, match=r"no recipe named 'bert-mimi' \(did you mean bert-mini\?\)"):
            locate("bert-mimi")

    def test_a_path_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no recipe file .*nothing\.yaml"):
            locate(str(tmp_path / "nothing.yaml"))

    def test_a_file_without_suffix_is_a_path(self, tmp_path: Path) -> None:
        path = tmp_path / "recipe"
        path.write_text(PRETRAIN, encoding="utf-8")
        assert read_recipe(PretrainRecipe, str(path)).name == "small"

    @pytest.mark.parametrize("name", shipped_recipes())
    def test_a_shipped_recipe_is_complete(self, name: str) -> None:
        path = locate(name)
        recipe = read_recipe(kind_of(path), name, tasks=TASKS)
        # One that serves several tasks is named after the one that it holds, as it is with another in its place.
        named = getattr(recipe, "task", "").replace("/", "-")
        assert recipe.name in (name, name.replace("/", "-").replace("_", "-"), named)
        told = summary(path)
        assert 10 < len(told) < 130
        assert "\n" not in told
        assert told.count("(") == told.count(")"), "a summary is a whole sentence"

    def test_every_file_of_the_folder_is_shipped(self) -> None:
        files = [path for path in FOLDER.rglob("*") if path.is_file()]
        assert sorted(shipped_recipes().values()) == sorted(files)
        assert {"bert-base", *(task.recipe for task in TASKS.values())} <= set(shipped_recipes())

    def test_a_summary_is_the_first_sentence_of_the_comment(self, tmp_path: Path) -> None:
        path = tmp_path / "a.yaml"
        path.write_text("# BERT of Devlin et al. 2019, on\n# my text. More here.\nname: a\n# no\n", encoding="utf-8")
        assert summary(path) == "BERT of Devlin et al. 2019, on my text"
        path.write_text("name: a\n", encoding="utf-8")
        assert summary(path) == ""

    def test_kinds(self, pretrain_file: Path, finetune_file: Path) -> None:
        assert kind_of(pretrain_file) is PretrainRecipe
        assert kind_of(finetune_file) is FinetuneRecipe
