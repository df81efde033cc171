"""What the pages show works: their commands parse, their output was recorded, their links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml

from llmkit.cli.main import app
from llmkit.recipes.ranges import checked, space_of
from llmkit.recipes.reading import kind_of, read_recipe
from llmkit.recipes.shipped import shipped_recipes
from llmkit.tasks import TASKS, task_named

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
PAGES = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED += sorted((ROOT / "docs" / "design").glob("*.md"))
COMMAND = typer.main.get_command(app)
FENCE = re.compile(
    r"(?:<!-- output: (?P<shown>[^\n]+?)(?: \(\w+ \d+ lines\))? -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.S
)
OWN = ("mine.yaml", "my-bert.yaml")  # recipes that a reader makes


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks() -> Iterator[Any]:
    for page in PAGES:
        for number, fence in enumerate(FENCE.finditer(page.read_text(encoding="utf-8")), start=1):
            yield pytest.param(fence.groupdict(), id=f"{name_of(page)}-{number}")


def llmkit_lines(text: str) -> Iterator[list[str]]:
    """The arguments of every `llmkit …` in a shell block, also behind `-m` and a launcher."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if "llmkit" in words and (words[0] == "llmkit" or words[words.index("llmkit") - 1] == "-m"):
            yield words[words.index("llmkit") + 1 :]


def check_command(arguments: list[str]) -> None:
    """Parse a command line as the real one would, and read the recipe that it names."""
    group: Any = COMMAND
    context = group.make_context("llmkit", list(arguments))
    rest = list(arguments)
    while hasattr(group, "commands"):
        assert rest, "no command"
        assert rest[0] in group.commands, f"no command {rest[0]}"
        name, rest = rest[0], rest[1:]
        group = group.commands[name]
        if not hasattr(group, "commands"):
            context = group.make_context(name, rest, parent=context)
    given = context.params
    task, recipe = given.get("task"), given.get("recipe")
    overrides = [f"task={task}"] if task else []
    if task:
        assert task in TASKS
    if arguments[0] == "recipes" and arguments[1] != "list":
        assert given["name"] in shipped_recipes() or given["name"] in OWN
    if arguments[0] == "search":
        space, others = space_of(given["overrides"])
        path = shipped_recipes()[recipe]
        checked(space, lambda more: read_recipe(kind_of(path), recipe, [*overrides, *others, *more], tasks=TASKS))
    if arguments[0] in ("pretrain", "finetune", "verify"):
        name = recipe or (task_named(task).recipe if task else "bert-base")
        if name not in OWN and not name.startswith(("runs/", "searches/")):
            path = shipped_recipes()[name]
            read_recipe(kind_of(path), name, [*overrides, *(given["overrides"] or ())], tasks=TASKS)


@pytest.mark.parametrize("block", list(blocks()))
def test_every_block_is_recorded_or_checked(block: dict[str, str]) -> None:
    kind, text = block["kind"], block["text"]
    if block["shown"]:
        assert kind == "console"
        assert block["shown"] in load("record").session()
        assert text.startswith(f"$ {block['shown']}\n"), "run `make docs`"
        assert text.count("\n") > 1, "run `make docs`"
    elif kind == "sh":
        for arguments in llmkit_lines(text):
            check_command(arguments)
    elif kind == "python":
        tree = ast.parse(text)
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_llmkit(node.value)}
        assert used <= set(COMMAND.commands), "a function for every command, and no others"
    elif kind == "yaml":
        yaml.safe_load(text)
    else:
        assert kind == "text", "a block is sh, python or yaml, text to read, or recorded output"


def is_llmkit(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "llmkit"


@pytest.mark.parametrize(
    "wrong",
    [
        "finetune --taks squad",
        "pretrain -r bert-bse",
        "finetune -r squad-minilm train.learning_rat=1",
        "evaluate runs/x",
    ],
)
def test_a_wrong_command_is_noticed(wrong: str) -> None:
    with pytest.raises(Exception, match=r"taks|bert-bse|learning_rat|evaluate"):
        check_command(wrong.split())


def test_every_command_of_the_session_parses() -> None:
    for command in load("record").session():
        for arguments in llmkit_lines(command):
            if not any(wrong in command for wrong in ("learning_rat=", "broken.yaml")):
                check_command(arguments)


def test_what_only_time_changed_is_left_alone() -> None:
    record = load("record")
    page = "<!-- output: llmkit eval RUN -->\n```console\n$ llmkit eval RUN\nf1 {} in {} s\n```\n"
    before = page.format(87, 3)
    assert record.fill(before, {"llmkit eval RUN": "f1 87 in 9 s\n"}) == before
    assert record.fill(before, {"llmkit eval RUN": "f1 88 in 9 s\n"}) == page.format(88, 9)


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?://", link):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_has_a_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMAND.commands:
        assert (GUIDE / f"{name}.md").read_text(encoding="utf-8").startswith(f"# llmkit {name}\n")
        assert f"(docs/guide/{name}.md)" in readme


def test_the_readme_is_short_and_says_how_to_begin() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    for command in ("make demo", "make test"):
        assert command in readme


def test_contributing_fits_on_a_screen() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_a_page_names_no_machine(page: Path) -> None:
    assert not re.search(r"/(tmp|work|root|Users)/", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_a_page_has_no_gaps(page: Path) -> None:
    """No placeholder waits for a number or a sentence, and no conflict of a merge is left."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"@@|\b(TODO|FIXME|TBD|XXX|BENCH)\b|^(<<<<<<<|>>>>>>>)", text, flags=re.M)


def test_the_picture_is_light() -> None:
    picture = ROOT / "docs" / "terminal.svg"
    assert picture.stat().st_size < 100_000
    assert "url(" not in re.sub(r"url\(#", "", picture.read_text(encoding="utf-8")), "it loads nothing"
