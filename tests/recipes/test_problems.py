"""What is wrong with a recipe is said all at once, each problem with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.recipes import FINETUNE, PRETRAIN, only_problem, pretrain_with, problems

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.recipes.section import Section
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS

pytestmark = pytest.mark.oldest


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
            ("train.torch_compile=yes please", "train.torch_compile: should be a valid boolean, got 'yes please'"),
            ("train.torch_compile=1", "train.torch_compile: should be a valid boolean, got 1"),
            ("corpus.masking=span", "corpus.masking: should be 'tokens', 'whole_words' or 'spans', got 'span'"),
            (
                "corpus={path: x, whole_word_mask: 1}",
                "corpus: whole_word_mask is the older name of masking: write masking: whole_words",
            ),
            (
                "corpus={path: x, whole_word_mask: true, masking: spans}",
                "corpus: whole_word_mask is the older name of masking: leave it out",
            ),
            (
                "corpus={path: x, eval_mlm_probability: null}",
                "corpus.eval_mlm_probability: should be a number between 0 and 1, got None",
            ),
            (
                "train.lr_scheduler_type=step",
                "train.lr_scheduler_type: should be 'linear', 'cosine', 'constant' or 'warmup_stable_decay'",
            ),
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
        assert told == "override name=[a: the value is not valid YAML; quote it: 'name=\"[a\"'"

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


def test_a_pattern_needs_no_quotes_in_an_override() -> None:
    """In YAML, `*.csv` would be an alias."""
    recipe = read_recipe(
        FinetuneRecipe, "tiny/classification", ["data.train=*.csv", "data.test=[a.csv, '*.b']"], tasks=TASKS
    )
    assert (recipe.data.train, recipe.data.test) == ("*.csv", ["a.csv", "*.b"])
