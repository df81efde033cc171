"""The table of other libraries' internals: complete, and true of the installed versions."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from support import ROOT

from llmkit.system.library_internals import PRIVATE, UNDOCUMENTED, Internal

pytestmark = pytest.mark.oldest

FILES = sorted((ROOT / "llmkit").rglob("*.py"))
OURS = ("self", "cls")


def find(place: str) -> Any:
    """A module, or what a module holds."""
    parts = place.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise AssertionError(f"no module {parts[0]}")


@pytest.mark.parametrize("entry", [*PRIVATE, *UNDOCUMENTED], ids=lambda entry: f"{entry.place}.{entry.name}")
def test_it_is_still_there(entry: Internal) -> None:
    library = entry.place.partition(".")[0]
    pytest.importorskip(library, reason="of an extra")
    moved = (
        f"{library} {version({'yaml': 'PyYAML'}.get(library, library))} moved {entry.place}.{entry.name}: {entry.why}"
    )
    holder = find(entry.place)
    if entry.in_source:
        assert entry.name in inspect.getsource(holder), moved
        return
    assert hasattr(holder, entry.name), moved
    if entry.parameters:
        known = inspect.signature(getattr(holder, entry.name)).parameters
        assert set(entry.parameters) <= set(known), f"{moved} (it takes {', '.join(known)})"


def test_every_entry_has_a_reason() -> None:
    assert all(entry.why for entry in (*PRIVATE, *UNDOCUMENTED))


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined_here(trees: list[ast.Module]) -> set[str]:
    """Private names that llmkit defines: functions, variables, attributes of self."""
    names: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            names |= {node.attr} if node.value.id in OURS else set()
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return {name for name in names if private(name)}


def foreign_names(file: Path, ours: set[str]) -> Iterator[tuple[int, str]]:
    """Private names that a file takes from objects and classes of other libraries, with their lines."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in ours:
            if not (isinstance(node.value, ast.Name) and node.value.id == "os"):  # os._exit is documented
                yield node.lineno, node.attr
        elif isinstance(node, ast.ClassDef):
            try:
                module = import_module(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
            except ModuleNotFoundError:  # of an extra
                continue
            parents = getattr(module, node.name).__mro__[1:] if hasattr(module, node.name) else ()
            foreign = [kind for kind in parents if not kind.__module__.startswith("llmkit")]
            members = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            members += [
                inner.attr
                for inner in ast.walk(node)
                if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id in OURS
            ]
            for name in filter(private, members):
                if any(name in vars(kind) for kind in foreign):
                    yield node.lineno, name


def test_the_table_is_complete() -> None:
    ours = defined_here([ast.parse(file.read_text(encoding="utf-8")) for file in FILES])
    known = {entry.name for entry in PRIVATE}
    missing = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in FILES
        for line, name in foreign_names(file, ours - known)
        if name not in known
    ]
    assert missing == [], "give each a reason in llmkit/system/library_internals.py"


def test_the_table_holds_nothing_that_is_not_used() -> None:
    code = "".join(file.read_text(encoding="utf-8") for file in FILES if file.name != "library_internals.py")
    assert [entry.name for entry in (*PRIVATE, *UNDOCUMENTED) if entry.name not in code] == []
