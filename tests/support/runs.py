"""Runs that are real and take seconds: a pretrained BERT, what is fine-tuned from it, and what both are made of."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.corpus.demo import data as demo

QUESTIONS = 24
SHAPE = "{hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}"
PRETRAIN = ["-r", "tiny/pretrain", f"model.config={SHAPE}", "corpus.block_size=32"]


def command(folder: Path, *arguments: str) -> None:
    """Run a command in a folder, in this process; it must end well."""
    from llmkit.cli.main import main

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["llmkit", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 0


def questions(*, unanswerable: bool = False) -> list[dict[str, Any]]:
    """Rows of SQuAD's form, three to a passage."""
    rows = []
    for n in range(QUESTIONS):
        context = f"Tom Reed founded {'abcdefgh'[n // 3]}mbury in 18{n // 3}0. It lies by the sea."
        question, answer = [("Who founded it?", "Tom Reed"), ("Where does it lie?", "by the sea")][n % 2]
        answers = {"text": [answer], "answer_start": [context.index(answer)]}
        if unanswerable and n % 4 == 0:
            question, answers = "Who left it?", {"text": [], "answer_start": []}
        rows.append({"id": f"q{n}", "context": context, "question": question, "answers": answers})
    return rows


def write_questions(file: Path, **options: bool) -> None:
    """The rows as JSON lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in questions(**options)), encoding="utf-8")


def pretrained(folder: Path) -> Path:
    """runs/bert in the folder: a BERT of 2 × 64 on a text of its own, three steps long."""
    text = "".join(f"{row['context']} {row['question']}\n\n" for row in questions())
    (folder / "books.txt").write_text(text * 40, encoding="utf-8")
    source = "{path: books.txt, documents: blank_line}"
    command(
        folder,
        *("pretrain", "-r", "tiny/pretrain", "-o", "runs/bert", f"corpus.sources=[{source}]"),
        *("corpus.tokenizer.vocab_size=200", "train.max_steps=3", "name=bert"),
    )
    return folder / "runs" / "bert"


def finetuned(folder: Path, task: str, *overrides: str) -> Path:
    """runs/TASK in the folder, from runs/bert on questions.jsonl, three steps long."""
    write_questions(folder / f"{task}.jsonl", unanswerable=task == "squad_v2")
    command(
        folder,
        *("finetune", "-r", f"tiny/{task}", "-o", f"runs/{task}", f"name={task}"),
        *("model.pretrained=runs/bert", f"data.train={task}.jsonl", f"data.validation={task}.jsonl"),
        *("train.max_steps=3", *overrides),
    )
    return folder / "runs" / task


def write_demo_text(folder: Path) -> Path:
    """400 documents of the demo, a line each, as JSON lines."""
    file = folder / "articles.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in islice(demo.documents(), 400)))
    return file


@cache
def demo_questions(split: str) -> list[dict[str, Any]]:
    """The demo's questions, which take a while to make. Not to be changed."""
    rows: list[dict[str, Any]] = demo.questions(split)  # type: ignore[arg-type]
    return rows


def write_demo_questions(folder: Path) -> list[str]:
    """64 training and 24 validation questions of the demo, as overrides that name their files."""
    overrides = []
    for split, size in (("train", 64), ("validation", 24)):
        file = folder / f"{split}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in demo_questions(split)[:size]))
        overrides.append(f"data.{split}={file}")
    return overrides


def tune(folder: Path, *overrides: str) -> list[str]:
    """A fine-tuning command of seconds on the demo's questions, from random weights and the folder's tokenizer."""
    run = ["-r", "tiny/squad", f"model.config={SHAPE}", "model.tokenizer=tokenizer", *write_demo_questions(folder)]
    return ["finetune", *run, "train.max_steps=12", "-o", "run", *overrides]


def run_command(*arguments: str, cwd: Path, launcher: tuple[str, ...] = ("-m",)) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; it must end well."""
    command = [sys.executable, *launcher, "llmkit", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done


def weights(run: Path) -> bytes:
    """The weights of a finished run, as they are in its file."""
    return (run / "model" / "model.safetensors").read_bytes()


def training_steps(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log that speak of training."""
    lines = (run / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if "loss" in record]


@dataclass(frozen=True)
class Material:
    """What runs on the demo's data are made of, in a folder: all but `folder` are paths in it.

    `questions` are overrides, and `model` is a pretrained run.
    """

    folder: Path
    text: Path
    questions: list[str]
    shards: Path
    model: Path


def demo_material(folder: Path) -> Material:
    """Make it, with a model that has seen a few blocks."""
    text, questions = write_demo_text(folder), write_demo_questions(folder)
    command(folder, "tokenize", "-c", str(text), "-o", "shards", "tokenizer.vocab_size=400")
    command(folder, "pretrain", *PRETRAIN, "corpus.path=shards", "-o", "model", "train.max_steps=6")
    return Material(folder, text, questions, folder / "shards", folder / "model")


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> Iterator[None]:
    """Leave all that was imported out of garbage collections, of which every training makes some."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def untraced_exports() -> Iterator[None]:
    """Let no coverage tool look on while torch exports a model, which takes several times as long with one."""
    export = torch.onnx.export

    def untraced(*arguments: Any, **options: Any) -> Any:
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return export(*arguments, **options)
        finally:
            sys.settrace(tracer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", untraced)
        yield
