"""The picture of the rooms in docs/design.md, drawn from the imports of the code. docs/generate.py writes it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap

DESIGN = Path(__file__).parent / "design.md"
PACKAGE = Path(__file__).parents[1] / "llmkit"
BEGIN = "<!-- The rooms, drawn from the imports by docs/generate.py: change the code, then run `make docs`. -->"
END = "<!-- End of the rooms. -->"
WIDTH = 34  # characters in a line of a box

Imports = Mapping[str, frozenset[str]]  # room → the rooms that it imports


def design_page() -> str:
    """docs/design.md as it is, with the picture between its markers drawn anew."""
    before, begin, rest = DESIGN.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DESIGN} lacks the markers of the picture: {BEGIN} {END}")
    return f"{before}{BEGIN}\n\n{picture()}\n\n{END}{after}"


def picture() -> str:
    """A Mermaid diagram: a box for each room with what lives there, and an arrow to each room that it imports."""
    rooms = _rooms()
    imports = {
        room: frozenset(other for file in files for other in imported(file) if other in rooms) - {room}
        for room, files in rooms.items()
    }
    top_down = sorted(imports, key=lambda room: (-len(reachable(imports, room)), room))
    boxes = [f'    {room}["{_label(room, rooms[room][0])}"]' for room in top_down]
    arrows = [f"    {room} --> {other}" for room in top_down for other in top_down if other in direct(imports, room)]
    return "\n".join(["```mermaid", "graph TD", *boxes, *arrows, "```"])


def direct(imports: Imports, room: str) -> frozenset[str]:
    """The rooms that `room` imports, without those that it reaches through another one anyway."""
    return imports[room].difference(*(reachable(imports, other) for other in imports[room]))


def reachable(imports: Imports, room: str) -> frozenset[str]:
    """All rooms below `room`."""
    found: set[str] = set()
    waiting = [room]
    while waiting:
        new = imports[waiting.pop()] - found
        found |= new
        waiting += new
    return frozenset(found)


def imported(file: Path) -> Iterator[str]:
    """What a file imports from directly under llmkit/, also inside functions and for types alone."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("llmkit."))


def _rooms() -> dict[str, list[Path]]:
    """The files of every room, its __init__.py first."""
    return {init.parent.name: [init, *init.parent.rglob("*.py")] for init in PACKAGE.glob("*/__init__.py")}


def _label(room: str, file: Path) -> str:
    """The name of a room, and the first sentence of the docstring that says what lives there."""
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    sentence = said.split("\n\n")[0].partition(". ")[0].rstrip(".").replace("`", "").replace('"', "'")
    return "<br/>".join([f"{room}/" if file.name == "__init__.py" else file.name, *wrap(sentence, WIDTH)])
