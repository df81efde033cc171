"""docs/cli.md and docs/recipes.md say what the code says."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from support import DOCS

from llmkit.cli.main import app
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.shapes import ModernBertShape
from llmkit.recipes.shipped import shipped_recipes
from llmkit.tasks import TASKS


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documents_are_up_to_date(generate: ModuleType) -> None:
    assert generate.main(["--check"]) == 0


def test_a_stale_document_is_named_with_what_to_do(
    generate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main([], tmp_path) == 0
    assert generate.main(["--check"], tmp_path) == 0
    page = tmp_path / "cli.md"
    page.write_text(page.read_text(encoding="utf-8").replace("--resume", "--go-on"), encoding="utf-8")
    before = page.read_bytes()
    capsys.readouterr()
    assert generate.main(["--check"], tmp_path) == 1
    told = capsys.readouterr().err
    assert str(page) in told
    assert "make docs" in told
    assert "recipes.md" not in told
    assert page.read_bytes() == before, "--check writes nothing"


def test_a_missing_document_is_stale(generate: ModuleType, tmp_path: Path) -> None:
    assert generate.main(["--check"], tmp_path) == 1
    assert not list(tmp_path.iterdir())


def test_the_same_code_gives_the_same_documents(generate: ModuleType) -> None:
    assert [page() for page in generate.PAGES.values()] == [page() for page in generate.PAGES.values()]


def commands(group: Any, words: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


@pytest.mark.parametrize(("words", "command"), list(commands(typer.main.get_command(app), "llmkit")))
def test_every_command_and_option_is_documented(words: str, command: Any) -> None:
    section = (DOCS / "cli.md").read_text(encoding="utf-8").partition(f"\n## {words}\n")[2].partition("\n## ")[0]
    assert f"\n```sh\n{words}" in section, "an example to paste"
    for parameter in command.params:
        if parameter.param_type_name == "option":
            for flag in parameter.opts:
                assert f"`{flag}`" in section
            assert parameter.help in section.replace("\\|", "|")


def keys(section: type[BaseModel], sections: Callable[[Any], Any]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield name
        inner = sections(field.annotation)
        if inner:
            yield from keys(inner, sections)


@pytest.mark.parametrize(
    "kind", [PretrainRecipe, ModernBertShape, *dict.fromkeys(task.recipe_class for task in TASKS.values())]
)
def test_every_key_of_a_recipe_is_documented(kind: type[BaseModel]) -> None:
    from llmkit.recipes.problems import section_in

    page = (DOCS / "recipes.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert set(keys(kind, section_in)) <= documented


def test_every_shipped_recipe_is_documented_with_its_expected_score(generate: ModuleType) -> None:
    page = (DOCS / "recipes.md").read_text(encoding="utf-8")
    for name in shipped_recipes():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert row.split(" | ")[-1].removesuffix(" |").strip()
    assert set(generate.EXPECTED) == {name for name in shipped_recipes() if not name.startswith("tiny/")}
