"""From text to an answer, through the commands, on a model of a few thousand weights."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.corpus.demo.data import documents, questions

Command = Callable[..., tuple[int, str, str]]

SHAPE = "{hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}"
PRETRAIN = ["-r", "tiny/pretrain", f"model.config={SHAPE}", "corpus.block_size=32"]


def write_text(folder: Path) -> Path:
    """400 documents of the demo, a line each, as JSON lines."""
    file = folder / "articles.jsonl"
    articles = [text for text, _ in zip(documents(), range(400), strict=False)]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in articles))
    return file


def write_questions(folder: Path) -> list[str]:
    """64 training and 24 validation questions, as overrides that name their files."""
    overrides = []
    for split, size in (("train", 64), ("validation", 24)):
        file = folder / f"{split}.jsonl"
        rows = questions("train" if split == "train" else "validation")[:size]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        overrides.append(f"data.{split}={file}")
    return overrides


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("material")
    return {"text": write_text(folder), "questions": write_questions(folder), "folder": folder}


@pytest.fixture(scope="module")
def base(material: dict[str, Any]) -> dict[str, Any]:
    """Token shards, and a run pretrained on them, made by commands in processes of their own."""
    folder = material["folder"]
    run_command("tokenize", "-c", str(material["text"]), "-o", "shards", "tokenizer.vocab_size=400", cwd=folder)
    run_command("pretrain", *PRETRAIN, "corpus.path=shards", "-o", "base", "train.max_steps=6", cwd=folder)
    return {**material, "shards": folder / "shards", "run": folder / "base"}


def run_command(*arguments: str, cwd: Path, launcher: tuple[str, ...] = ("-m",)) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, "llmkit", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done


def test_the_whole_flow(base: dict[str, Any], llmkit: Command, tmp_path: Path) -> None:
    pretrained = json.loads((base["run"] / "metrics.json").read_text())
    assert pretrained["steps"] == 6
    assert pretrained["perplexity"] > 1

    tiny = ["-r", "tiny/squad", f"model.pretrained={base['run']}", *base["questions"], "train.max_steps=6"]
    code, out, err = llmkit("finetune", *tiny, "-o", "run", "--task", "squad")
    assert code == 0, err
    assert "24 questions" in out
    run = tmp_path / "run"
    scores = json.loads((run / "metrics.json").read_text())
    names = {file.name for file in run.iterdir()}
    expected = {"recipe.yaml", "env.json", "log.jsonl", "checkpoints", "model", "metrics.json", "predictions.jsonl"}
    assert names == expected
    assert {file.name for file in (run / "model").iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not list(run.rglob("training_args.bin")) or not (run / "model" / "training_args.bin").exists()

    # The same numbers afterwards, from the run, from its predictions, and from its recipe run again.
    code, out, err = llmkit("eval", "run", "--json")
    assert code == 0, err
    assert json.loads(out) == scores
    validation = base["questions"][1].partition("=")[2]
    code, out, _ = llmkit(
        "eval", "--predictions", "run/predictions.jsonl", "--data", validation, "--task", "squad", "--json"
    )
    assert json.loads(out) == scores
    code, out, err = llmkit("finetune", "-r", "run/recipe.yaml", "-o", "again")
    assert code == 0, err
    assert weights(tmp_path / "again") == weights(run)

    code, out, err = llmkit(
        "ask", "run", "-q", "Who founded Ambury?", "-c", "Ambury was founded by Tom Reed.", "--json"
    )
    assert code == 0, err
    answer = json.loads(out)
    assert "Ambury was founded by Tom Reed."[answer["start"] : answer["end"]] == answer["text"]


def test_no_answer_task(base: dict[str, Any], llmkit: Command, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(base["questions"][0].partition("=")[2]).read_text().splitlines()]
    for number, row in enumerate(rows):
        if number % 3 == 0:
            row["answers"] = {"text": [], "answer_start": []}
    (tmp_path / "half.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ["data.train=half.jsonl", "data.validation=half.jsonl"]
    code, out, err = llmkit(
        "finetune", "-r", "tiny/squad_v2", f"model.pretrained={base['run']}", *data, "train.max_steps=4", "-o", "run"
    )
    assert code == 0, err
    assert "the other half" in out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["HasAns_total"] + scores["NoAns_total"] == scores["total"] == 64
    assert scores["tuned"]["tuned_on"]["total"] + scores["tuned"]["reported_on"]["total"] == 64
    code, out, err = llmkit("ask", "run", "-q", "Who founded Ambury?", "-c", "Ambury was founded by Tom Reed.")
    assert code == 0, err


def test_dry_run_writes_nothing(base: dict[str, Any], llmkit: Command, tmp_path: Path) -> None:
    code, _, err = llmkit("pretrain", *PRETRAIN, f"corpus.path={base['shards']}", "--dry-run")
    assert code == 0
    assert "blocks of 32" in err
    assert re.search(r"estimate, in one process: \d+ steps, .* tokens, .* of training and .* GiB of memory", err)
    tiny = ["-r", "tiny/squad", f"model.pretrained={base['run']}", *base["questions"]]
    code, _, err = llmkit("finetune", *tiny, "--dry-run")
    assert code == 0
    assert re.search(r"estimate, in one process: \d+ steps", err)
    assert list(tmp_path.iterdir()) == []


def test_pretraining_tokenizes_what_is_not_tokenized(base: dict[str, Any], llmkit: Command, tmp_path: Path) -> None:
    sources = [f"corpus.sources=[{base['text']}]", "corpus.tokenizer.vocab_size=400"]
    code, _, err = llmkit("pretrain", *PRETRAIN, *sources, "train.max_steps=2", "-o", "run")
    assert code == 0, err
    # The same text and tokenizer as in the shards that tokenize made: the same blocks, masks and weights.
    code, _, err = llmkit("pretrain", *PRETRAIN, f"corpus.path={base['shards']}", "train.max_steps=2", "-o", "twin")
    assert code == 0, err
    assert weights(tmp_path / "run") == weights(tmp_path / "twin")


def test_pretraining_goes_on_from_a_checkpoint(base: dict[str, Any], llmkit: Command) -> None:
    continued = [f"model.pretrained={base['run']}", f"corpus.path={base['shards']}", "train.max_steps=2"]
    code, out, err = llmkit("pretrain", "-r", "tiny/pretrain", "corpus.block_size=32", *continued, "-o", "run")
    assert code == 0, err
    assert "starts from random weights" not in err
    assert "perplexity" in out


def test_a_time_budget_ends_the_run_and_its_schedule(base: dict[str, Any], llmkit: Command, tmp_path: Path) -> None:
    timed = ["train.time_budget=2s", "train.logging_steps=1", f"corpus.path={base['shards']}"]
    code, _, err = llmkit("pretrain", *PRETRAIN, *timed, "-o", "run")
    assert code == 0, err
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    assert len(rates) > 3
    assert rates[-1] < max(rates) / 2
    assert any("eval_perplexity" in line for line in lines)


def test_demo_command(llmkit: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The demo's plot, with few and short steps; what it reaches in full is tested in test_demo_in_full."""
    from llmkit.commands import demo as command
    from llmkit.corpus.demo import data

    monkeypatch.setattr(data, "NUM_DOCUMENTS", 1000)
    monkeypatch.setattr(data, "NUM_QUESTIONS", {"train": 64, "validation": 24})
    short = {"demo/pretrain": [f"model.config={SHAPE}", "train.max_steps=2"], "demo/squad": []}
    real = command.read_recipe

    def read_short(kind: Any, name: str, overrides: Any = (), **options: Any) -> Any:
        return real(kind, name, [*overrides, *short[name]], **options)

    monkeypatch.setattr(command, "read_recipe", read_short)
    code, out, err = llmkit("demo", "-o", "runs")
    assert code == 0, err
    assert "two candidates" in out
    assert "Try next" in out
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["pretrain", "squad", "squad-from-scratch"]
    code, _, err = llmkit("demo", "-o", "runs")
    assert code == 1
    assert "in use" in err


@pytest.mark.slow
def test_demo_in_full(tmp_path: Path) -> None:
    report = json.loads(run_command("demo", "-o", "runs", "--json", cwd=tmp_path).stdout)
    assert report["pretrained"]["f1"] >= 75
    assert report["pretrained"]["f1"] >= report["from_scratch"]["f1"] + 10
