"""From text to an answer, through the commands, on a model of a few thousand weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import Command
from support.runs import PRETRAIN, SHAPE, Material, run_command, weights


def test_the_whole_flow(material: Material, llmkit: Command, tmp_path: Path) -> None:
    pretrained = json.loads((material.model / "metrics.json").read_text())
    assert pretrained["steps"] == 6
    assert pretrained["perplexity"] > 1

    tiny = ["-r", "tiny/squad", f"model.pretrained={material.model}", *material.questions, "train.max_steps=6"]
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
    validation = material.questions[1].partition("=")[2]
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


def test_no_answer_task(material: Material, llmkit: Command, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(material.questions[0].partition("=")[2]).read_text().splitlines()]
    for number, row in enumerate(rows):
        if number % 3 == 0:
            row["answers"] = {"text": [], "answer_start": []}
    (tmp_path / "half.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ["data.train=half.jsonl", "data.validation=half.jsonl"]
    code, out, err = llmkit(
        "finetune", "-r", "tiny/squad_v2", f"model.pretrained={material.model}", *data, "train.max_steps=4", "-o", "run"
    )
    assert code == 0, err
    assert "the other half" in out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["HasAns_total"] + scores["NoAns_total"] == scores["total"] == 64
    assert scores["tuned"]["tuned_on"]["total"] + scores["tuned"]["reported_on"]["total"] == 64
    code, out, err = llmkit("ask", "run", "-q", "Who founded Ambury?", "-c", "Ambury was founded by Tom Reed.")
    assert code == 0, err


def test_dry_run_writes_nothing(material: Material, llmkit: Command, tmp_path: Path) -> None:
    code, _, err = llmkit("pretrain", *PRETRAIN, f"corpus.path={material.shards}", "--dry-run")
    assert code == 0
    assert "blocks of 32" in err
    assert re.search(r"estimate, in one process: \d+ steps, .* tokens, .* of training and .* GiB of memory", err)
    tiny = ["-r", "tiny/squad", f"model.pretrained={material.model}", *material.questions]
    code, _, err = llmkit("finetune", *tiny, "--dry-run")
    assert code == 0
    assert re.search(r"estimate, in one process: \d+ steps", err)
    assert list(tmp_path.iterdir()) == []


def test_pretraining_tokenizes_what_is_not_tokenized(material: Material, llmkit: Command, tmp_path: Path) -> None:
    sources = [f"corpus.sources=[{material.text}]", "corpus.tokenizer.vocab_size=400"]
    code, _, err = llmkit("pretrain", *PRETRAIN, *sources, "train.max_steps=2", "-o", "run")
    assert code == 0, err
    # The same text and tokenizer as in the shards that tokenize made: the same blocks, masks and weights.
    code, _, err = llmkit("pretrain", *PRETRAIN, f"corpus.path={material.shards}", "train.max_steps=2", "-o", "twin")
    assert code == 0, err
    assert weights(tmp_path / "run") == weights(tmp_path / "twin")


def test_pretraining_goes_on_from_a_checkpoint(material: Material, llmkit: Command) -> None:
    continued = [f"model.pretrained={material.model}", f"corpus.path={material.shards}", "train.max_steps=2"]
    code, out, err = llmkit("pretrain", "-r", "tiny/pretrain", "corpus.block_size=32", *continued, "-o", "run")
    assert code == 0, err
    assert "starts from random weights" not in err
    assert "perplexity" in out


def test_a_time_budget_ends_the_run_and_its_schedule(material: Material, llmkit: Command, tmp_path: Path) -> None:
    timed = ["train.time_budget=2s", "train.logging_steps=1", f"corpus.path={material.shards}"]
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
