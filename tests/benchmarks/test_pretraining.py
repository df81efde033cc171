"""The benchmarks of pretraining: their parts, and each of them on a small text with budgets of seconds."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from argparse import Namespace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from support.benchmarks import BENCHMARKS, Load
from support.runs import SHAPE, command, write_demo_questions

from llmkit.corpus.demo import data as demo
from llmkit.corpus.packing import PackedBlocks
from llmkit.corpus.shards import TokenShards
from llmkit.corpus.tokenizer import load_tokenizer
from llmkit.models.masked_lm import model_for_pretraining

RECIPE = f"""
name: small
corpus: {{sources: [demo], block_size: 32}}
model: {{config: {SHAPE}}}
train: {{max_steps: 1, per_device_train_batch_size: 8, learning_rate: 1.0e-3}}
"""


def write_text(folder: Path) -> tuple[Path, Path]:
    """Two folders of .txt files: to train on, and held out."""
    documents = list(islice(demo.documents(), 120))
    for name, files in (("text", 3), ("held", 1)):
        (folder / name).mkdir()
        for number in range(files):
            some = [documents.pop() for _ in range(30)]
            (folder / name / f"{number}.txt").write_text("\n\n".join(some), encoding="utf-8")
    (folder / "small.yaml").write_text(RECIPE)
    modern = RECIPE.replace(SHAPE, SHAPE.replace("{", "{model_type: modernbert, "))
    modern = modern.replace("block_size: 32", "block_size: 32, mlm_probability: [0.3, 0.15]")
    (folder / "modern.yaml").write_text(modern.replace("max_steps: 1,", "max_steps: 1, optim: muon,"))
    return folder / "text", folder / "held"


def benchmark(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    more = ["--threads", "1", "--work", str(folder / "work"), *arguments]
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *more], cwd=folder, capture_output=True, text=True, check=False
    )


def test_all_combinations(load: Load) -> None:
    sweep = load("pretrain_sweep")
    found = sweep.variations(["train.learning_rate=1e-3,0.002", "corpus.mlm_probability=[0.3, 0.15],0.15"])
    assert found == [
        [f"train.learning_rate={rate}", f"corpus.mlm_probability={share}"]
        for rate in ("1e-3", "0.002")
        for share in ("[0.3, 0.15]", "0.15")
    ]
    assert sweep.variations([]) == [[]]
    with pytest.raises(SystemExit, match="write KEY=VALUE"):
        sweep.variations(["train.learning_rate"])


def test_what_is_no_recipe_is_found_before_any_run(load: Load, tmp_path: Path) -> None:
    sweep = load("pretrain_sweep")
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE)
    arguments = Namespace(recipe=str(recipe), overrides=[], cpu=False, budget=10.0, seeds=[1])
    with pytest.raises(SystemExit, match="learning_rat"):
        sweep.sweep(arguments, [["train.learning_rate=1e-3"], ["train.learning_rat=1e-3"]])
    with pytest.raises(SystemExit, match="warmup_steps must be a fraction"):
        sweep.sweep(arguments, [["train.warmup_steps=20"]])


def test_a_failed_run_is_a_cell(load: Load) -> None:
    sweep = load("pretrain_sweep")
    figures = {"loss": 4.5, "steps": 120, "tokens": 61_440.0, "parameters": 5_400_000}
    assert sweep.row(["train.seed=1"], [figures, None]) == (
        "| 1 | 4.500 | failed | **4.500** | 120 | 0.06 M | 5.40 M |"
    )
    assert sweep.row(["a=1"], [None]) == "| 1 | failed |"


def test_the_time_to_a_loss(load: Load) -> None:
    quality = load("pretrain_quality")
    curve = [(0.25, 7.0), (0.5, 6.0), (0.75, 6.2), (1.0, 5.0)]
    assert quality.share_to(curve, 6.5) == pytest.approx(0.375)
    assert quality.share_to(curve, 6.0) == 0.5
    assert quality.share_to(curve, 5.6) == pytest.approx(0.875)
    assert quality.share_to(curve, 7.5) == 0.25, "before the first evaluation nothing is known"
    assert quality.share_to(curve, 4.9) == math.inf


def test_the_table_of_times(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    """The median over seeds; a seed that does not reach the loss is the slowest."""
    quality = load("pretrain_quality")
    curves = {"new": [[(0.2, 6.0), (1.0, 5.0)], [(0.2, 7.0), (1.0, 6.5)], [(0.5, 6.0), (1.0, 5.5)]]}
    losses = {"new": [5.0], "old": [6.0], "other": [5.4]}
    rows = {name: [{"loss": loss} for loss in found] for name, found in losses.items()}
    quality.times(600, curves, rows)
    assert "| new |  | 300 (0.50 ×) | not reached |" in capsys.readouterr().out


def run_mlm(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, each: bool) -> tuple[Any, list[Any]]:
    """A RunMlm that trains nothing, and what it is asked to train: the best rate is the budget in thousandths."""
    module = load("mlm_script")
    asked: list[Any] = []

    def trained(self: Any, budget: float, seed: int, rate: str) -> dict[str, float]:
        asked.append((budget, seed, rate))
        return {"loss": abs(float(rate) - budget / 1000)}

    monkeypatch.setattr(module.RunMlm, "_trained", trained)
    (tmp_path / "lines.txt").touch()
    arguments = Namespace(learning_rates="1e-3,2e-3", sweep_each_budget=each)
    return module.RunMlm(arguments, tmp_path), asked


def test_the_script_gets_the_best_rate(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, asked = run_mlm(load, tmp_path, monkeypatch, each=False)
    for budget in (1, 2):
        for seed in (1, 2):
            script.trained(budget, seed)
    assert [found[2] for found in asked[:2]] == ["1e-3", "2e-3"]
    assert asked[2:] == [(1, 1, "1e-3"), (1, 2, "1e-3"), (2, 1, "1e-3"), (2, 2, "1e-3")]


def test_the_script_gets_the_best_rate_of_each_budget(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, asked = run_mlm(load, tmp_path, monkeypatch, each=True)
    assert script.trained(1, 1) == {"loss": 0}
    assert script.trained(2, 1) == {"loss": 0}
    assert script.trained(2, 2) == {"loss": 0}
    assert len(asked) == 2 * 3 + 1


def test_a_recipe_is_evaluated_like_the_rest(load: Load, tmp_path: Path) -> None:
    quality = load("pretrain_quality")
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE)
    quality.check(str(recipe), 32)
    with pytest.raises(SystemExit, match="give --block-size 32"):
        quality.check(str(recipe), 64)
    recipe.write_text(RECIPE.replace("block_size: 32", "block_size: 32, eval_mlm_probability: 0.2"))
    with pytest.raises(SystemExit, match="remove corpus"):
        quality.check(str(recipe), 32)


def test_a_changed_recipe_is_another_run(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretraining = load("pretraining")
    commands: list[str] = []

    def run(command: list[str], folder: Path, **_: str) -> None:
        commands.append(" ".join(command))
        (folder / "run").mkdir(exist_ok=True)
        (folder / "run" / ("recipe.yaml" if len(commands) == 1 else "metrics.json")).touch()

    monkeypatch.setattr(pretraining, "run", run)
    arguments = Namespace(work=tmp_path, threads=1)
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE)
    first = pretraining.pretrained(str(recipe), ["train.seed=1"], arguments)
    assert "--resume" not in commands[0]
    assert pretraining.pretrained(str(recipe), ["train.seed=1"], arguments) == first
    assert "--resume" in commands[1]
    assert pretraining.pretrained(str(recipe), ["train.seed=1"], arguments) == first
    assert len(commands) == 2, "a finished run is found"
    recipe.write_text(RECIPE.replace("1.0e-3", "2.0e-3"))
    assert pretraining.pretrained(str(recipe), ["train.seed=1"], arguments) != first


def test_the_lines_hold_all_words(load: Load, tmp_path: Path) -> None:
    script = load("mlm_script")
    words = [f"word{n}" for n in range(5000)]
    (tmp_path / "a.txt").write_text("\n".join(words))
    (tmp_path / "b.txt").write_text("last " + "x" * 2 * script.LINE)
    found = list(script.lines([tmp_path]))
    assert " ".join(found[:-3]).split() == words
    assert found[-3:] == ["last", "x" * script.LINE, "x" * script.LINE]
    assert max(map(len, found)) <= script.LINE


def test_all_are_scored_on_the_held_out_text(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretraining = load("pretraining")
    text, held = write_text(tmp_path)
    monkeypatch.chdir(tmp_path)
    size = "tokenizer.vocab_size=400"
    command(tmp_path, "tokenize", "-c", f"{text},documents=file", "-o", "shards", size)
    command(tmp_path, "tokenize", "-c", f"{held},documents=file", "-o", "novels", "tokenizer.path=shards/tokenizer")
    shards, novels = tmp_path / "shards", tmp_path / "novels"
    given = {"text": [], "shards": shards, "held_out": novels, "tokenizer": None, "vocab_size": 400}
    arguments = Namespace(work=tmp_path / "work", **given)
    found = pretraining.corpus(arguments)
    train, validation = (PackedBlocks(TokenShards(found, split), 32) for split in ("train", "validation"))
    assert train.tokens == PackedBlocks(TokenShards(shards, "train"), 32).tokens
    both = sum(int(TokenShards(novels, split).lengths.sum()) for split in ("train", "validation"))
    assert validation.tokens == both // 32 * 32
    assert pretraining.corpus(arguments) == found, "made once"
    tokenizer = load_tokenizer(str(found / "tokenizer"))
    for recipe in ("small.yaml", "modern.yaml"):
        model = model_for_pretraining(pretraining.read(recipe, []).model, tokenizer, 32)
        folder = tmp_path / Path(recipe).stem / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        scores = pretraining.held_out(folder, found, Namespace(block_size=32, threads=1))
        assert scores["loss"] == pytest.approx(math.log(400), abs=0.2), "it has learned nothing"
        assert scores["parameters"] == model.num_parameters()
        assert "held-out-" in "".join(file.name for file in folder.parent.iterdir()), "it is kept"
    with pytest.raises(SystemExit, match="another folder with --work"):
        pretraining.corpus(Namespace(work=tmp_path / "work", **{**given, "held_out": shards}))
    (novels / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(SystemExit, match="different tokenizers"):
        pretraining.corpus(Namespace(work=tmp_path / "other", **given))


@pytest.mark.slow
def test_the_sweep(tmp_path: Path) -> None:
    text, held = write_text(tmp_path)
    arguments = ["--recipe", "small.yaml", "--text", str(text), "--vocab-size", "400", "--held-out", str(held)]
    arguments += ["--block-size", "32"]
    arguments += ["--budget", "1s", "--cpu", "--seeds", "1,2", "--vary", "train.learning_rate=1e-3,2e-3"]
    done = benchmark("pretrain_sweep.py", tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("| 1e-3 |", "| 2e-3 |"))]
    assert len(rows) == 2
    assert rows[0].split("|")[5:] == rows[1].split("|")[5:], "the same steps, tokens and parameters"
    logs = list((tmp_path / "work" / "runs").glob("*/run/log.jsonl"))
    assert len(logs) == 4
    written = {log: log.stat().st_mtime_ns for log in logs}
    again = benchmark("pretrain_sweep.py", tmp_path, *arguments)
    assert again.stdout == done.stdout
    assert {log: log.stat().st_mtime_ns for log in logs} == written, "no run is repeated"


@pytest.mark.slow
def test_the_quality(tmp_path: Path) -> None:
    text, held = write_text(tmp_path)
    arguments = ["--recipes", "small.yaml", "modern.yaml", "--text", str(text), "--held-out", str(held)]
    arguments += ["--vocab-size", "400", "--block-size", "32"]
    done = benchmark("pretrain_quality.py", tmp_path, *arguments, "--budgets", "1s,2s", "--cpu", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert "After 1 s of CPU time" in done.stdout
    assert "After 2 s of CPU time" in done.stdout
    runs = list((tmp_path / "work" / "runs").glob("*/run"))
    assert len(runs) == 4
    for run in runs:
        score = json.loads(next(run.glob("held-out-*.json")).read_text())["loss"]
        assert json.loads((run / "metrics.json").read_text())["loss"] == pytest.approx(score, abs=1e-5), (
            "the curve and the score are one evaluation"
        )
    for name in ("small", "modern"):
        rows = [line for line in done.stdout.splitlines() if line.startswith(f"| {name} |")]
        assert len(rows) == 4, "the loss and the time to the other's, for each budget"


@pytest.mark.slow
def test_the_downstream_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = write_text(tmp_path)
    monkeypatch.chdir(tmp_path)
    command(
        tmp_path,
        "pretrain",
        "-r",
        "small.yaml",
        f"corpus.sources=[{text}]",
        "-o",
        "bert",
        "corpus.tokenizer.vocab_size=400",
    )
    files = [override.partition("=")[2] for override in write_demo_questions(tmp_path)]
    cola = tmp_path / "cola.jsonl"
    rows = [{"sentence": f"sentence {n}", "label": n % 2} for n in range(40)]
    cola.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--runs", "old=bert", "new=bert", "--squad", *files, "--cola", str(cola), str(cola), "--seeds", "1,2"]
    done = benchmark("pretrain_downstream.py", tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    for row in ("| squad, f1 | old |", "| squad, f1 | new |", "| cola, matthews_correlation | new |"):
        assert done.stdout.count(row) == 1
