"""A room imports only from the rooms after it, and no file is long."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT

PACKAGE = ROOT / "llmkit"

# From the two doors down. Rooms that share a row do not import one another.
ROOMS = (
    ("api", "cli"),
    ("commands",),
    ("training", "evidence", "sharing", "serving"),
    ("tasks",),
    ("models",),
    ("corpus",),
    ("recipes",),
    ("system",),
)
ROW = {room: row for row, rooms in enumerate(ROOMS) for room in rooms}
ROOT_FILES = 2
LINES = 300
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    """The folder under llmkit/ that a file is in; empty for the package's own files, which are above all rooms."""
    parts = file.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def against_the_rule(room: str, source: str) -> Iterator[tuple[int, str]]:
    """Lines of a file that import from a room that is not after its own, also inside functions and for types alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "a relative import"
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [
                f"{node.module}.{alias.name}" if node.module == "llmkit" else str(node.module) for alias in node.names
            ]
        for package, _, name in (name.partition(".") for name in names):
            other = name.partition(".")[0]
            if package == "llmkit" and room and other != room and ROW.get(other, -1) <= ROW[room]:
                yield node.lineno, f"llmkit/{room}/ imports {package}.{name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(file: Path) -> None:
    found = list(against_the_rule(room_of(file), file.read_text(encoding="utf-8")))
    assert found == [], f"{' → '.join(' | '.join(rooms) for rooms in ROOMS)} is the only direction"


def test_every_folder_is_a_room() -> None:
    assert {room_of(file) for file in FILES} - {""} <= set(ROW)
    assert len([file for file in FILES if not room_of(file)]) <= ROOT_FILES


@pytest.mark.parametrize(
    "source",
    [
        "from llmkit.commands.finetune import prepare",
        "import llmkit.commands.finetune",
        "from llmkit import sharing",
        "def f():\n    from llmkit.training.trainer import Trainer",
        "from . import base",
    ],
)
def test_an_import_against_the_rule_is_found(source: str) -> None:
    assert len(list(against_the_rule("tasks", source))) == 1


def test_an_import_in_the_right_direction_is_fine() -> None:
    assert not list(against_the_rule("tasks", "from llmkit.models.checkpoint import Checkpoint\nimport torch"))
    assert not list(against_the_rule("", "from llmkit.cli.main import main"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_no_file_is_long(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LINES
