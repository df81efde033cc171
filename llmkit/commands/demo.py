"""`llmkit demo`: run the whole flow on generated data, with the same functions as the other commands."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from llmkit.commands.ask import ask
from llmkit.commands.ask import show as show_answer
from llmkit.commands.finetune import prepare as prepare_finetune
from llmkit.commands.job import train
from llmkit.commands.pretrain import prepare as prepare_pretrain
from llmkit.recipes.finetuning import FinetuneRecipe
from llmkit.recipes.pretraining import PretrainRecipe
from llmkit.recipes.reading import read_recipe
from llmkit.system.console import duration, result, say, table
from llmkit.system.errors import UserError
from llmkit.system.machine import quiet
from llmkit.system.run_folder import RunDir
from llmkit.tasks import TASKS, task_named
from llmkit.tasks.examples import load_examples


def run_demo(output: Path) -> dict[str, Any]:
    """Tokenize, pretrain, fine-tune and evaluate; then fine-tune from random weights, for comparison.

    Creates the runs `pretrain`, `squad` and `squad-from-scratch` in `output`. Returns the scores of both fine-tuned
    runs. Raises UserError if `output` is in use.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is in use", remedy="remove it, or choose another folder with -o")
    quiet()
    start = time.monotonic()
    say("1 of 3  pretraining a small ModernBERT from scratch, on articles about invented things")
    recipe = read_recipe(PretrainRecipe, "demo/pretrain")
    base = train(prepare_pretrain(recipe, output / "pretrain"))
    say("2 of 3  fine-tuning it to answer questions about other invented things")
    pretrained = _finetune(output / "squad", [f"model.pretrained={base.path}"])
    say("3 of 3  the same fine-tuning from random weights, to measure what pretraining contributes")
    assert recipe.model.config is not None
    shape = json.dumps(recipe.model.config.model_dump())
    scratch = _finetune(output / "squad-from-scratch", [f"model.config={shape}", f"model.tokenizer={base.path}"])
    return {
        "pretrained": _scores(pretrained),
        "from_scratch": _scores(scratch),
        "perplexity": _metrics(base)["perplexity"],
        "seconds": round(time.monotonic() - start, 1),
    }


def show(report: dict[str, Any], output: Path) -> None:
    """Print a question and its answer, the table of scores, and commands to try next, on stdout."""
    from llmkit.corpus.demo.data import questions

    row, other, *_ = questions("validation")
    result(f"\nQ: {row['question']}\n   {row['context']}")
    show_answer(ask(str(output / "squad"), row["question"], row["context"], "the passage"), row["context"])
    result("")
    groups = [
        ("all questions", ""),
        ("one candidate", "one_candidate"),
        ("two candidates", "two_candidates"),
    ]
    rows = []
    for title, key in groups:
        parts = [report[name][key] if key else report[name] for name in ("pretrained", "from_scratch")]
        cells = [f"{part[score]:.1f}" for part in parts for score in ("exact_match", "f1")]
        rows.append([title, f"{parts[0]['total']:,}", *cells])
    table(
        ["entities never seen", ">questions", ">pretrained EM", ">F1", ">from scratch EM", ">F1"],
        rows,
        title=f"The whole flow took {duration(report['seconds'])}",
    )
    run = output / "squad"
    result(
        "\nTry next:\n"
        f"  llmkit ask {run} -q {quote(other['question'])} -c {quote(other['context'])}\n"
        f"  llmkit serve {run}\n"
        f"  llmkit eval {run}\n"
        "  llmkit tokenize -c YOUR_TEXT -o data/mine\n"
        "  llmkit pretrain -r modernbert-mini corpus.path=data/mine\n"
        "  llmkit finetune --task squad"
    )


def _finetune(output: Path, overrides: Sequence[str]) -> RunDir:
    recipe = read_recipe(FinetuneRecipe, "demo/squad", overrides, tasks=TASKS)
    return train(prepare_finetune(recipe, output))


def _metrics(run: RunDir) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    return values


def _scores(run: RunDir) -> dict[str, Any]:
    """A run's scores, also separately for passages with and without a second candidate."""
    from llmkit.tasks.predictions import read_predictions

    task = task_named("squad")
    data = task.data_class(path="demo")
    examples = load_examples(task, data, ["validation"])["validation"]
    predictions = read_predictions(run.path / "predictions.jsonl")
    scores = _metrics(run)
    for key, second in (("one_candidate", False), ("two_candidates", True)):
        rows = [i for i, value in enumerate(examples["second_candidate"]) if value is second]
        part = task.score([predictions[i] for i in rows], examples.select(rows), data)
        scores[key] = {name: part[name] for name in ("exact_match", "f1", "total")}
    return scores
