"""docs/new-task.md, followed to the letter: its task, in a module of its own, and the commands on it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support import DOCS, Command
from support.tasks import letters
from transformers import BertConfig, BertForMaskedLM

from llmkit.recipes.shipped import summary
from llmkit.tasks import TASKS

PAGE = (DOCS / "new-task.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_page_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 66


def test_a_task_that_is_added_as_the_page_says(
    llmkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "news_task.py"
    module.write_text("from llmkit.tasks.label.task import Classification\n\n" + block("python"))
    monkeypatch.syspath_prepend(str(tmp_path))
    from news_task import AG_NEWS

    monkeypatch.setitem(TASKS, AG_NEWS.name, AG_NEWS)
    rows, recipe = tmp_path / "rows.jsonl", tmp_path / "ag-news-bert-base.yaml"
    rows.write_text(block("json"))
    recipe.write_text(block("yaml"))
    assert summary(recipe).startswith("AG News with BERT-base")
    tokenizer = letters()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")

    small = ["model.pretrained=encoder", f"data.train={rows}", f"data.validation={rows}", "train.max_steps=2"]
    code, out, err = llmkit("finetune", "--task", "ag_news", "-r", str(recipe), *small, "-o", "run")
    assert code == 0, err
    assert "3 articles" in out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    code, out, err = llmkit("eval", "run", "--json")
    assert (code, json.loads(out)) == (0, scores), err
    scored = ["--predictions", "run/predictions.jsonl", "--data", str(rows), "--task", "ag_news"]
    code, out, err = llmkit("eval", *scored, "--json")
    assert (code, json.loads(out)) == (0, scores), err
    code, out, err = llmkit("predict", "run", str(rows), "-o", "predictions.jsonl")
    assert code == 0, err
    labels = [json.loads(line)["text"] for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert len(labels) == 3
    assert set(labels) <= set(AG_NEWS.names)
    # The commands that the page names are those that there are.
    assert [line.split()[1] for line in block("sh").splitlines()] == ["finetune", "eval", "eval", "predict"]
