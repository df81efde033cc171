"""The picture of the rooms in docs/design.md."""

from __future__ import annotations

from pathlib import Path

import rooms


def test_arrows_that_others_imply_are_left_out() -> None:
    imports = {"top": frozenset("abc"), "a": frozenset("c"), "b": frozenset("c"), "c": frozenset("d"), "d": frozenset()}
    assert {room: rooms.direct(imports, room) for room in imports} == {**imports, "top": frozenset("ab")}


def test_every_form_of_import_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(
        "import llmkit.corpus.shards\n"
        "from llmkit import tasks\n"
        "import os, llmkit\n"
        "if TYPE_CHECKING:\n    from llmkit.models.onnx import Graphs\n"
        "def f():\n    from llmkit.system.files import read_text\n"
    )
    assert set(rooms.imported(file)) == {"corpus", "tasks", "models", "system"}


def test_the_picture_shows_every_room_and_replaces_nothing_else() -> None:
    picture = rooms.picture()
    folders = [init.parent.name for init in rooms.PACKAGE.glob("*/__init__.py")]
    assert [name for name in folders if f'    {name}["{name}/<br/>' not in picture] == []
    page = rooms.design_page()
    assert picture in page
    text = rooms.DESIGN.read_text(encoding="utf-8")
    assert page.partition(rooms.BEGIN)[0] == text.partition(rooms.BEGIN)[0]
    assert page.partition(rooms.END)[2] == text.partition(rooms.END)[2]
