"""Chinese from nothing: text, vocabulary, encoder, reader, scores and an answer, without a word of English."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support import Command

from llmkit.corpus.shards import read_manifest

SURNAMES, NAMES = "王李张刘陈", ("小明", "建国", "丽华", "志强", "秀英", "文静")
CITIES = ("北京", "上海", "广州", "成都", "西安", "杭州", "南京")
WORK = ("医生", "老师", "司机", "厨师", "工程师")
DRINKS = ("绿茶", "红茶", "咖啡", "牛奶")


def people() -> Iterator[dict[str, Any]]:
    """Rows of people, a passage and a question about each."""
    for number, (surname, name) in enumerate(product(SURNAMES, NAMES)):
        who, city = surname + name, CITIES[number % len(CITIES)]
        work, drink = WORK[number % len(WORK)], DRINKS[number % len(DRINKS)]
        passage = f"{who}住在{city}。他是一名{work}，今年{20 + number}岁。每天早上，他都要喝一杯{drink}。"
        question, answer = ((f"{who}住在哪里？", city), (f"{who}喜欢喝什么？", drink))[number % 2]
        answers = {"text": [answer], "answer_start": [passage.index(answer)]}
        yield {"id": str(number), "context": passage, "question": question, "answers": answers}


@pytest.mark.parametrize(
    "kind",
    ["wordpiece", pytest.param("unigram", marks=pytest.mark.slow), pytest.param("bpe", marks=pytest.mark.slow)],
)
def test_from_text_to_an_answer(kind: str, llmkit: Command, tmp_path: Path) -> None:
    rows = list(people())
    (tmp_path / "文章.txt").write_text("\n\n".join(row["context"] for row in rows * 4), encoding="utf-8")
    for name, part in (("train", rows[:24] * 2), ("validation", rows[24:])):
        lines = (json.dumps({**row, "id": str(n)}, ensure_ascii=False) + "\n" for n, row in enumerate(part))
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")

    settings = [f"tokenizer.type={kind}", "tokenizer.vocab_size=300"]
    code, _, err = llmkit("tokenize", "-c", "文章.txt", "-o", "shards", *settings)
    assert code == 0, err
    manifest = read_manifest(tmp_path / "shards")
    assert manifest["documents"] == len(rows) * 4, "a file that is alone is split at its blank lines"
    assert manifest["unknown"] / manifest["tokens"] < 0.005
    assert "(0.00% [UNK])" in err

    code, out, err = llmkit("pretrain", "-r", "tiny/pretrain", "corpus.path=shards", "train.max_steps=8", "-o", "bert")
    assert code == 0, err
    code, out, err = llmkit(
        *("finetune", "-r", "tiny/squad", "model.pretrained=bert", "-o", "reader", "train.max_steps=8"),
        *("data={max_length: 96, doc_stride: 16, language: zh}", "data.train=train.jsonl"),
        "data.validation=validation.jsonl",
    )
    assert code == 0, err
    code, out, err = llmkit("eval", "reader", "--json")
    assert code == 0, err
    assert json.loads(out) == json.loads((tmp_path / "reader" / "metrics.json").read_text())
    passage = rows[0]["context"]
    code, out, err = llmkit("ask", "reader", "-q", rows[0]["question"], "-c", passage, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["text"] == passage[answer["start"] : answer["end"]] != ""
