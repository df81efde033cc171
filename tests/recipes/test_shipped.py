"""Recipes are found by name or path, and those that ship with llmkit are complete."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.recipes import PRETRAIN

from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import kind_of, read_recipe
from llmkit.recipes.shipped import FOLDER, locate, shipped_recipes, summary
from llmkit.system.errors import UserError
from llmkit.tasks import TASKS

pytestmark = pytest.mark.oldest


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
