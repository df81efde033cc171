"""`llmkit ask`: a question and a passage, or folders of them, in; answers and their places out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from llmkit.corpus.passages import Passage, characters_of, passages_of, text_files
from llmkit.models.checkpoint import Checkpoint
from llmkit.system.console import count, result, say, table
from llmkit.system.errors import UserError
from llmkit.system.files import read_text
from llmkit.system.machine import choose, keep_memory, quiet
from llmkit.system.processes import start_group
from llmkit.system.progress import Course
from llmkit.tasks import task_named
from llmkit.tasks.inference import Reader
from llmkit.tasks.purpose import purpose_of
from llmkit.tasks.settings import data_section
from llmkit.tasks.values import Candidate, Prediction

ALTERNATIVES = 3
ANSWERS = 5
AROUND = 60  # characters of the passage shown on either side of an answer
TOGETHER = 1_000_000  # characters of passages that are in memory at a time


@dataclass(frozen=True)
class Answer:
    """A prediction, and the line of the passage it stands in (counted from 1), None where there is none."""

    prediction: Prediction
    line: int | None
    source: str


@dataclass(frozen=True)
class Found:
    """One answer among those of many files. Characters and the line, which is counted from 1, are those of its file.

    `score` is the model's logit, `probability` its share among the candidates of all passages that hold an answer.
    """

    text: str
    file: str
    line: int
    start: int
    end: int
    score: float
    probability: float
    before: str
    after: str

    def as_row(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def passage_of(text: str | None, file: Path | None) -> str:
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

    A model of squad_v2 abstains where its null score says so, at the threshold that its evaluation tuned.
    """
    _check(question)
    reader = _reader(model)
    with Course("reading", len(context), "characters") as course:
        (prediction,) = _predictions(reader, question, [context], course)
    line = None if prediction.start is None else context.count("\n", 0, prediction.start) + 1
    return Answer(prediction, line, source)


def ask_all(model: str, question: str, places: Sequence[Path], wanted: int) -> list[Found]:
    """The best answers in all text files of these places, no two at the same place, the likeliest first.

    A model of squad_v2 abstains passage by passage, at its threshold; what it abstains from holds no answer. Raises
    UserError.
    """
    _check(question)
    files = text_files(places)
    total = characters_of(files)
    reader = _reader(model)
    say(f"{len(files):,} files, {count(total)} characters: all of it is read")
    best: list[Found] = []
    everything = -np.inf  # the logarithm of the sum over all candidates
    with Course("reading", total, "characters") as course:
        for passages in _together(passages_of(files)):
            predictions = _predictions(reader, question, [passage.text for passage in passages], course)
            for passage, prediction in zip(passages, predictions, strict=True):
                if prediction.text:
                    scores = [candidate.score for candidate in prediction.candidates]
                    everything = np.logaddexp(everything, np.logaddexp.reduce(scores))
                    best += [_found(passage, candidate) for candidate in _apart(prediction.candidates)[:wanted]]
            best = sorted(best, key=lambda found: -found.score)[:wanted]  # equals stay in the order of files
    return [replace(found, probability=float(np.exp(found.score - everything))) for found in best]


def _check(question: str) -> None:
    if not question.strip():
        raise UserError("the question is empty", remedy="ask something: -q QUESTION")


def _reader(model: str) -> Reader:
    """A model that answers questions. Raises UserError where it does not."""
    quiet()
    keep_memory()
    purpose = purpose_of(model)
    task = purpose.task if purpose else task_named("squad")
    if not task.answers_questions:
        raise UserError(
            f"{model} was fine-tuned for {task.name}, which answers no questions",
            remedy=f"give it a file of rows: llmkit predict {model} FILE -o OUTPUT",
        )
    checkpoint = Checkpoint.named(model)
    data = data_section(checkpoint, task, purpose.data if purpose else {}, "passage")
    loaded, codec = task.load_trained(checkpoint, data)
    loaded.to(start_group())
    return Reader(loaded, task, codec, data, purpose.null_threshold if purpose else None, choose("auto").bf16)


def _predictions(reader: Reader, question: str, contexts: Sequence[str], course: Course) -> list[Prediction]:
    from datasets import Dataset

    rows = [{"id": "question", "question": question, "context": context} for context in contexts]
    predictions = reader(Dataset.from_list(rows), course.part(sum(map(len, contexts))))
    assert predictions is not None
    return predictions


def _together(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    found: list[Passage] = []
    for passage in passages:
        found.append(passage)
        if sum(len(passage.text) for passage in found) >= TOGETHER:
            yield found
            found = []
    if found:
        yield found


def _apart(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that share no character with a better one, which would be the same answer in other words."""
    kept: list[Candidate] = []
    for candidate in candidates:
        if not any(_places(candidate)[0] < _places(k)[1] and _places(k)[0] < _places(candidate)[1] for k in kept):
            kept.append(candidate)
    return kept


def _places(candidate: Candidate) -> tuple[int, int]:
    assert candidate.start is not None
    assert candidate.end is not None
    return candidate.start, candidate.end


def _found(passage: Passage, candidate: Candidate) -> Found:
    start, end = _places(candidate)
    before, after = _surroundings(passage.text, start, end)
    return Found(
        text=candidate.text,
        file=str(passage.file),
        line=passage.line + passage.text.count("\n", 0, start) + 1,
        start=passage.start + start,
        end=passage.start + end,
        score=candidate.score,
        probability=0.0,  # until all candidates are known
        before=before,
        after=after,
    )


def _surroundings(context: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and after, on one line."""
    before, after = context[max(0, start - AROUND) : start], context[end : end + AROUND]
    return " ".join(before.split()), " ".join(after.split())


def show(answer: Answer, context: str) -> None:
    """The answer with its surroundings, and the runners-up, on stdout."""
    prediction = answer.prediction
    if prediction.start is None or prediction.end is None:
        result(f"no answer in the passage  ({prediction.score:.0%} sure)")
    else:
        result(f"{prediction.text}  ({prediction.score:.0%})")
        before, after = _surroundings(context, prediction.start, prediction.end)
        result(f"  {answer.source}, line {answer.line}, characters {prediction.start} to {prediction.end}:")
        result(f"  … {before} [{prediction.text}] {after} …")
    others = [c for c in prediction.candidates if c.start != prediction.start or c.end != prediction.end]
    if others:
        rows = [
            [f"{c.probability:.0%}", " ".join(c.text.split()), f"{c.start} to {c.end}"] for c in others[:ALTERNATIVES]
        ]
        table([">share", "other candidates", "characters"], rows)


def show_all(answers: Sequence[Found]) -> None:
    """Answers with their places and surroundings, on stdout."""
    if not answers:
        result("no answer in these files")
    for found in answers:
        text = " ".join(found.text.split())
        result(f"{text}  ({found.probability:.0%})")
        result(f"  {found.file}, line {found.line}, characters {found.start} to {found.end}:")
        result(f"  … {found.before} [{text}] {found.after} …")
