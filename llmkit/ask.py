"""`llmkit ask`: a question and a passage in, the answer and its place out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmkit.console import result, table
from llmkit.errors import UserError
from llmkit.evaluate import BATCH_SIZE, data_section
from llmkit.files import read_text
from llmkit.inference import outputs_of
from llmkit.machine import choose, keep_memory, quiet
from llmkit.rundir import RunDir
from llmkit.task_models import trained
from llmkit.tasks import task_named
from llmkit.tasks.base import Prediction

ALTERNATIVES = 3
AROUND = 60  # characters of the passage shown on either side of an answer


@dataclass(frozen=True)
class Answer:
    """A prediction, and the line of the passage it stands in (counted from 1), None where there is none."""

    prediction: Prediction
    line: int | None
    source: str


def passage(text: str | None, file: Path | None) -> str:
    """The passage, given as text or as a file. Raises UserError."""
    if (text is None) == (file is None):
        raise UserError("a question needs one passage", remedy="give it either with -c TEXT or with -f FILE")
    if file is not None:
        text = read_text(file)
    assert text is not None
    if not text.strip():
        raise UserError(f"the passage{f' in {file}' if file else ''} is empty", remedy="give some text to read")
    return text


def ask(model: str, question: str, context: str, source: str) -> Answer:
    """Answer a question from a passage of any length, with a run or a checkpoint.

    A run of squad_v2 abstains where its null score says so, at the threshold that its evaluation tuned.
    """
    from datasets import Dataset

    if not question.strip():
        raise UserError("the question is empty", remedy="ask something: -q QUESTION")
    quiet()
    keep_memory()
    run = RunDir(Path(model))
    recipe = run.recipe() if (run.path / "recipe.yaml").is_file() else {}
    task = task_named(recipe.get("task", "squad"))
    if task.head != "span":
        raise UserError(
            f"{model} was fine-tuned for {task.name}, which answers no questions",
            remedy=f"give it a file of rows: llmkit predict {model} FILE -o OUTPUT",
        )
    loaded, codec = trained(model, task)
    data = data_section(model, task, recipe.get("data", {}), "passage")
    examples = Dataset.from_list([{"id": "question", "question": question, "context": context}])
    features = task.encode(examples, codec, data, training=False)
    outputs = outputs_of(loaded, task.head, features, codec, BATCH_SIZE, bf16=choose("auto").bf16)
    assert outputs is not None
    (prediction,) = task.decode(outputs, features, examples, codec, data, threshold=run.null_threshold())
    line = None if prediction.start is None else context.count("\n", 0, prediction.start) + 1
    return Answer(prediction, line, source)


def show(answer: Answer, context: str) -> None:
    """The answer with its surroundings, and the runners-up, on stdout."""
    prediction = answer.prediction
    if prediction.start is None or prediction.end is None:
        result(f"no answer in the passage  ({prediction.score:.0%} sure)")
    else:
        result(f"{prediction.text}  ({prediction.score:.0%})")
        before = " ".join(context[max(0, prediction.start - AROUND) : prediction.start].split())
        after = " ".join(context[prediction.end : prediction.end + AROUND].split())
        result(f"  {answer.source}, line {answer.line}, characters {prediction.start} to {prediction.end}:")
        result(f"  … {before} [{prediction.text}] {after} …")
    others = [c for c in prediction.candidates if c.start != prediction.start or c.end != prediction.end]
    if others:
        rows = [
            [f"{c.probability:.0%}", " ".join(c.text.split()), f"{c.start} to {c.end}"] for c in others[:ALTERNATIVES]
        ]
        table([">share", "other candidates", "characters"], rows)
