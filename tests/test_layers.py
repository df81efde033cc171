"""Imports go one way, and no file tells two stories."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "llmkit"

# From the command line down. A module imports from its own row or from one below; the longest prefix counts.
LAYERS = (
    "__main__",
    "cli cli_use cli_checks cli_recipes cli_options cli_publish cli_export",
    "tokenize pretrain finetune evaluate predict ask verify doctor demo.command push export",
    "tasks corpus models task_models encoder_decoder heads packed_attention checkpoints stopping training report "
    "throughput estimate inference features passages batching pace model_card card_usage card_facts "
    "training_arguments auto_batch onnx_model onnx_texts purpose",
    "recipe finetune_recipe recipe_reading rundir cache hub processes machine console files partial_file errors "
    "metrics demo __init__ hub_writing shareable launch ends out_of_memory",
)
ROWS = {f"llmkit.{name}": row for row, names in enumerate(LAYERS) for name in names.split()}
LINES = 330  # a longer file is telling two stories


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


MODULES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def row_of(module: str) -> int:
    """The row that names the module or, failing that, the package around it."""
    name = module
    while name not in ROWS:
        name, dot, _ = name.rpartition(".")
        assert dot, f"{module} is in no layer: give it a place in LAYERS"
    return ROWS[name]


def imports_of(module: str) -> Iterator[tuple[str, int]]:
    """Modules of ours that a module imports, those inside functions and for types alone too, with their lines."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{MODULES[module]}:{node.lineno}: a relative import"
            assert node.module
            # `from llmkit import pretrain` names a module, `from llmkit.recipes.pretraining import Source` something inside one.
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == "llmkit":
                yield (name if name in MODULES else f"{name}.__init__"), node.lineno


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    for imported, line in imports_of(module):
        assert row_of(imported) >= row_of(module), f"{MODULES[module]}:{line}: {module} imports {imported}, above it"


def test_imports_make_no_circle() -> None:
    graph = {module: {imported for imported, _ in imports_of(module)} - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


def test_every_row_names_modules_that_exist() -> None:
    assert {name for name in ROWS if name not in MODULES} == set()


@pytest.mark.parametrize("module", MODULES)
def test_no_file_is_long(module: str) -> None:
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= LINES, f"{MODULES[module]} has {lines} lines"


def test_the_design_names_every_module() -> None:
    text = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    names = {name.replace(".", "/") for names in LAYERS[1:] for name in names.split()} - {"__init__", "demo"}
    assert sorted(name for name in names if f"`{name}`" not in text and f"`{name}/`" not in text) == []
