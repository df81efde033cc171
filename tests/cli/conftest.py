"""Files to make mistakes with, and what a command does about a mistake: one message, and everything as it was."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support import Command
from transformers import BertConfig, BertForMaskedLM, BertForQuestionAnswering, BertTokenizer

Refused = Callable[[list[str], list[str]], None]

MANIFEST = ("format", "key", "sources", "totals", "splits")


def rewrite(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda c: (c / "model.safetensors").write_bytes((c / "model.safetensors").read_bytes()[:-9]),
    "garbled": lambda c: (c / "model.safetensors").write_bytes(b"\xff" * 64),
    "weightless": lambda c: (c / "model.safetensors").unlink(),
    "shapeless": lambda c: rewrite(c / "config.json", hidden_size=32),
    "configless": lambda c: (c / "config.json").write_text("{"),
    "unknown": lambda c: rewrite(c / "config.json", model_type="berd", architectures=None),
    "tokenless": lambda c: [(c / file).unlink() for file in ("tokenizer.json", "tokenizer_config.json")],
    "mistokened": lambda c: (c / "tokenizer.json").write_text("{"),
    "gpt": lambda c: rewrite(c / "config.json", model_type="gpt2", architectures=None),
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, ".", "?", *(f"##{letter}" for letter in LETTERS)]
CONTEXT = "tom reed founded ambury."
ROW = {"id": "q1", "context": CONTEXT, "question": "who?", "answers": {"text": ["tom reed"], "answer_start": [0]}}


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints and files, good ones and bad ones."""
    folder = tmp_path_factory.mktemp("material")
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY)})
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    for name, kind, size in (
        ("answerer", BertForQuestionAnswering, len(VOCABULARY)),
        ("encoder", BertForMaskedLM, len(VOCABULARY)),
        ("small-vocabulary", BertForMaskedLM, 20),
    ):
        model = kind(BertConfig(vocab_size=size, max_position_embeddings=64, **shape))
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    pickled = folder / "pickled"
    BertForMaskedLM(BertConfig(vocab_size=len(VOCABULARY), **shape)).config.save_pretrained(pickled)
    tokenizer.save_pretrained(pickled)
    torch.save({}, pickled / "pytorch_model.bin")
    (folder / "nothing").mkdir()
    (folder / "nothing" / "notes.txt").write_text("mine")

    def rows(name: str, *rows: Any) -> None:
        (folder / name).write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))

    rows("good.jsonl", ROW, {**ROW, "id": "q2"})
    rows("broken.jsonl", ROW, '{"id": ')
    rows("twice.jsonl", ROW, ROW)
    rows("misaligned.jsonl", {**ROW, "answers": {"text": ["reed"], "answer_start": [0]}})
    rows("column.jsonl", {**ROW, "contxt": CONTEXT, "context": None})
    rows("empty.jsonl")
    rows("long.jsonl", {**ROW, "question": "who " * 100})
    rows("title.jsonl", {**ROW, "title": 3})
    rows("surrogate.jsonl", {**ROW, "title": "\ud800"})
    rows("null_score.jsonl", {"id": "q1", "text": "", "null_score": "x"})
    rows("list.jsonl", "[1]")
    rows("numbers.jsonl", {"text": 3})
    rows("labels.jsonl", {"text": "tom", "label": "a"}, {"text": "reed", "label": "b"})
    rows("null.jsonl", {"text": "tom", "label": "a"}, {"text": None, "label": "b"}, '{"text": NaN, "label": "b"}')
    rows("one-label.jsonl", {"text": "tom", "label": "a"}, {"text": "reed", "label": "a"})
    rows("shares.jsonl", {"text": "tom", "label": 0.5})
    rows("secret.jsonl", {"text": "tom", "label": -1}, {"text": "reed", "label": -1})
    rows("half.jsonl", '{"text": "\\ud83d"}')
    (folder / "good.conll").write_text("tom B-PER\nreed I-PER\n\nambury B-LOC\n")
    (folder / "plain.conll").write_text("tom O\n")
    (folder / "column.conll").write_text("tom B-PER\nreed\n")
    (folder / "scheme.conll").write_text("tom B-PER\nreed PER\n")
    (folder / "latin.conll").write_bytes(b"tom B-PER\n\xe9mile B-PER\n")
    rows("uneven-tags.jsonl", {"tokens": ["tom", "reed"], "ner_tags": ["B-PER"]})
    rows("short-tags.jsonl", {"id": "0", "text": "B-PER"})
    page = {"example_id": 5, "question_text": "who?", "document_text": f"<P> {CONTEXT} </P>"}
    rows("page-span.jsonl", {**page, "annotations": [{"short_answers": [{"start_token": 1, "end_token": 99}]}]})
    rows("page-null.jsonl", {**page, "annotations": [{"short_answers": []}]})
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode())[:-9])
    changes: dict[str, dict[str, Any]] = {
        "no-question": {"question": None},
        "no-answers": {"answers": None},
        "empty-context": {"context": " "},
        "empty-question": {"question": ""},
        "number-question": {"question": 7},
        "text-answers": {"answers": "tom reed"},
        "uneven-answers": {"answers": {"text": ["tom reed"], "answer_start": []}},
        "empty-answer": {"answers": {"text": [""], "answer_start": [0]}},
        "negative-start": {"answers": {"text": ["tom reed"], "answer_start": [-24]}},
        "float-start": {"answers": {"text": ["tom reed"], "answer_start": [0.0]}},
        "far-start": {"answers": {"text": ["tom reed"], "answer_start": [999]}},
        "unanswerable": {"answers": {"text": [], "answer_start": []}},
    }
    for name, change in changes.items():
        rows(f"{name}.jsonl", ROW, {**ROW, "id": "q2", **change})
    nested: dict[str, Any] = {
        "no-data": {"version": "1.1"},
        "no-paragraphs": {"data": [{"title": "x"}, {"paragraphs": []}]},
        "no-qas": {"data": [{"paragraphs": [{"context": CONTEXT}]}]},
        "odd-qas": {"data": [{"paragraphs": [{"context": CONTEXT, "qas": ["who?"]}]}]},
    }
    for name, content in nested.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "uneven.csv").write_text("context,question\nx,who?\nx,who?,when?\n")
    for name in ("binary.txt", "binary.jsonl", "binary.json", "binary.yaml", "binary.csv"):
        (folder / name).write_bytes(b"good\n\xff\xfe")
    (folder / "empty.txt").touch()
    (folder / "table.csv").write_text("text\nx\n")
    (folder / "ragged.csv").write_text("text,label\ntom,a\nreed\n")
    (folder / "odd.parquet").write_text("not parquet")
    pq.write_table(pa.table({"body": ["x"]}), folder / "column.parquet")
    pq.write_table(pa.table({"text": [1, 2]}), folder / "numbers.parquet")
    (folder / "two").mkdir()
    for name in ("train-a.jsonl", "train-b.jsonl"):
        (folder / "two" / name).write_text(json.dumps(ROW))
    (folder / "empty.yaml").touch()
    (folder / "list.yaml").write_text("- name: x\n")
    (folder / "twice.yaml").write_text("name: x\nname: y\n")
    (folder / "early.yaml").write_text("name: x\ntrain: {max_steps: 1}\ncorpus: {path: x}\nmodel: {config: {}}\n")
    for name, text in {"broken": "{", "other": json.dumps({**{key: {} for key in MANIFEST}, "format": 99})}.items():
        (folder / f"shards-{name}").mkdir()
        (folder / f"shards-{name}" / "manifest.json").write_text(text)
    for name, damage in CHECKPOINTS.items():
        shutil.copytree(folder / "answerer", folder / name)
        damage(folder / name)
    for name, file, text in (
        ("run-broken", "recipe.yaml", "name: ["),
        ("run-list", "recipe.yaml", "- a"),
        ("run-unfinished", "recipe.yaml", "name: x\ntask: squad\n"),
    ):
        (folder / name).mkdir()
        (folder / name / file).write_text(text)
    shutil.copytree(folder / "answerer", folder / "run-damaged" / "model")
    (folder / "run-damaged" / "recipe.yaml").write_text("name: x\ntask: squad_v2\n")
    (folder / "run-damaged" / "metrics.json").write_text("{")
    (folder / "answers.json").write_text('{"q1": "tom reed", "q2": "tom"}')
    (folder / "strangers.json").write_text('{"q9": "tom"}')
    (folder / "alias.yaml").write_text("name: x\ntask: &a [*a]\n")
    (folder / "one.txt").write_text("only one document here. " * 40)
    (folder / "many.txt").write_text("\n\n".join(["one document of many. " * 20] * 80))
    recipe = "name: x\ntask: squad\nmodel: {pretrained: encoder}\n"
    data = "data: {train: good.jsonl, validation: good.jsonl, max_length: 32, doc_stride: 8}\n"
    (folder / "good.yaml").write_text(recipe + data + "train: {max_steps: 1}\n")
    (folder / "typo.yaml").write_text(recipe + data + "train:\n  max_steps: 1\n  learning_rat: 1e-4\n  seed: no\n")
    (folder / "yaml.yaml").write_text("name: x\ntask: [squad\n")
    (folder / "task.yaml").write_text((recipe + data).replace("squad", "squat") + "train: {max_steps: 1}\n")
    (folder / "finished").mkdir()
    (folder / "finished" / "recipe.yaml").write_text("name: x\n")
    (folder / "finished" / "metrics.json").write_text("{}")
    (folder / "started").mkdir()
    (folder / "started" / "recipe.yaml").write_text("name: other\n")
    return folder


@pytest.fixture
def refused(material: Path, llmkit: Command, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """`refused(arguments, messages)`: the command says so in one message with its remedy, and changes nothing."""

    def check(arguments: list[str], messages: list[str]) -> None:
        monkeypatch.chdir(material)
        before = {path: path.stat().st_mtime_ns for path in material.rglob("*")}
        code, out, err = llmkit(*arguments)
        assert code == 1, err
        assert "Traceback" not in err
        assert out == ""
        # What is wrong, a line a problem, and then one line that says what to do about it.
        *problems, remedy = err[err.index("error: ") :].splitlines()
        assert all(line.startswith("error: ") for line in problems), err
        assert not remedy.startswith("error: "), err
        assert remedy.endswith("."), err
        for message in messages:
            assert message in err
        assert {path: path.stat().st_mtime_ns for path in material.rglob("*")} == before

    return check
