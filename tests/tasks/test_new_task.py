"""docs/new-task.md, followed to the letter: its files, and the commands on them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from support import DOCS, Command
from support.tasks import letters
from transformers import BertConfig, BertForMaskedLM

from llmkit.recipes.shipped import shipped_recipes
from llmkit.tasks import TASKS
from llmkit.tasks.user_tasks import use_tasks

pytestmark = pytest.mark.usefixtures("own_tasks")
PAGE = (DOCS / "new-task.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    """Overrides for two steps of a tiny BERT; the page's Python files are beside it."""
    for name, text in zip(("news.py", "stars.py"), blocks("python"), strict=True):
        (tmp_path / name).write_text(text)
    tokenizer = letters()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    return ["model.pretrained=encoder", "data.max_length=32", "train.max_steps=2", "train.eval_steps=2"]


def write_rows(file: Path, column: str, answers: list[int]) -> None:
    rows = [{"text": f"text number {n}", column: answer} for n, answer in enumerate(answers)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_page_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 80


def test_the_pages_dataset(small: list[str], llmkit: Command, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", "label", [2, 3, 1, 0])
    rows = ["data.train=rows.jsonl", "data.validation=rows.jsonl"]
    finetune, evaluate = (shlex.split(line)[1:] for line in blocks("sh")[0].splitlines())
    code, _, err = llmkit(*finetune, *small, *rows)
    assert code == 0, err
    assert TASKS["ag_news"].recipe in shipped_recipes()
    config = json.loads((tmp_path / "runs" / "ag-news" / "model" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["World", "Sports", "Business", "Sci/Tech"]
    code, out, err = llmkit(*evaluate, "--json")
    assert code == 0, err
    assert json.loads(out) == json.loads((tmp_path / "runs" / "ag-news" / "metrics.json").read_text())


def test_the_pages_row_is_one_of_its_dataset(tmp_path: Path) -> None:
    (tmp_path / "news.py").write_text(blocks("python")[0])
    use_tasks(tmp_path / "news.py")
    (row,) = re.findall(r"`(\{.*?\})`", PAGE)
    task = TASKS["ag_news"]
    assert task.example(json.loads(row), task.data_class(path="x"), labelled=True)["label"] == "Business"


def test_the_pages_kind(small: list[str], llmkit: Command, tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", "stars", [1, 2, 3, 4, 5])
    write_rows(tmp_path / "validation.jsonl", "stars", [5, 3, 1])
    (tmp_path / "stars.yaml").write_text(blocks("yaml")[0])
    code, out, err = llmkit("finetune", "--tasks", "stars.py", "--task", "stars", *small)
    assert code == 0, err
    assert "within_one" in out
    run = tmp_path / "runs" / yaml.safe_load(blocks("yaml")[0])["name"]
    scores = json.loads((run / "metrics.json").read_text())
    code, out, err = llmkit("eval", str(run), "--tasks", "stars.py", "--json")
    assert (code, json.loads(out)) == (0, scores), err
    code, _, err = llmkit("predict", str(run), "validation.jsonl", "-o", "out.jsonl", "--tasks", "stars.py")
    assert code == 0, err
    assert {json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text().splitlines()} <= set("12345")
