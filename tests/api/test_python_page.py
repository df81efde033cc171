"""docs/python.md: its code runs, top to bottom, and the functions take what the page says."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import DOCS

import llmkit
from llmkit.corpus.demo import data

PAGE = (DOCS / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's code leaves behind."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("notebook")
        patch.chdir(folder)
        patch.setattr(data, "NUM_DOCUMENTS", 1000)
        patch.setattr(data, "NUM_QUESTIONS", {"train": 400, "validation": 60})
        for block in BLOCKS:
            exec(compile(block, "docs/python.md", "exec"), names)
        names["folder"] = folder
        names["shards"] = folder / names["shards"]
    return names


def test_the_page_runs(page: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page["folder"])
    assert page["base"].scores["perplexity"] > 1
    assert page["losses"]
    assert [trial["state"] for trial in page["found"]["trials"]] == ["finished"] * 2
    assert 1e-4 <= page["best"]["values"]["train.learning_rate"] <= 1e-2
    assert page["compared"]["pairs"][0]["interval"]
    assert page["answer"].text == "Ambury was founded by Tom Reed in 1820."[page["answer"].start : page["answer"].end]
    assert (page["folder"] / "report.html").is_file()
    assert page["predictions"][0].text == page["answer"].text
    assert (page["shards"] / "manifest.json").is_file()


def test_its_table_names_every_function_and_parameter() -> None:
    for name in (
        "tokenize",
        "pretrain",
        "finetune",
        "search",
        "bench",
        "evaluate",
        "compare",
        "audit",
        "predict",
        "ask",
        "explain",
        "export",
        "report",
    ):
        (row,) = [line for line in PAGE.splitlines() if f"`llmkit.{name}(" in line]
        named = set(re.findall(r"\w+", row.split(f"llmkit.{name}(")[1].split(")")[0]))
        assert named <= set(inspect.signature(getattr(llmkit, name)).parameters)


def test_problems_are_exceptions(page: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page["folder"])
    with pytest.raises(llmkit.UserError, match="did you mean max_steps") as caught:
        llmkit.finetune("squad", train={"max_stepz": 20, "learning_rate": "fast"})
    assert len(caught.value.problems) == 2
    with pytest.raises(llmkit.UserError, match="is not a run"):
        llmkit.Run("nowhere")
    with pytest.raises(llmkit.UserError, match="holds a finished run"):
        llmkit.finetune("squad", recipe="tiny/squad", output="runs/squad", model={"pretrained": "runs/bert"})
    with pytest.raises(AttributeError, match="no attribute 'fine'"):
        llmkit.fine  # noqa: B018


def test_rows_of_a_file_and_in_memory_give_the_same(page: dict[str, Any], tmp_path: Path) -> None:
    import json

    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in page["rows"]))
    run = llmkit.Run(page["folder"] / "runs" / "squad")
    assert llmkit.predict(run, file) == llmkit.predict(run, page["rows"])


def test_importing_llmkit_imports_nothing_heavy() -> None:
    code = "import sys, llmkit; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"torch", "transformers", "datasets", "numpy", "pydantic", "typer", "yaml"} & set(eval(out))


def test_everything_in_all_is_there() -> None:
    assert all(getattr(llmkit, name) is not None for name in llmkit.__all__)
    assert set(llmkit.__all__) <= set(dir(llmkit))
