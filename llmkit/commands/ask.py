"""`llmkit ask`: answer a question from a passage, or from files and folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from llmkit.corpus.passages import Passage, characters_of, passages_of, text_files
from llmkit.system.console import count, result, say, table
from llmkit.system.errors import UserError
from llmkit.system.files import read_text
from llmkit.system.progress import Course
from llmkit.tasks import task_named
from llmkit.tasks.columns import Columns
from llmkit.tasks.purpose import purpose_of
from llmkit.tasks.reading import PatientReader, open_reader
from llmkit.tasks.settings import settings_of
from llmkit.tasks.span.served import line_of
from llmkit.tasks.values import Candidate, Prediction

ALTERNATIVES = 3  # other candidates shown for one passage
ANSWERS = 5  # from several files
CONTEXT_SHOWN = 60  # characters on each side of an answer
GROUP_CHARACTERS = 1_000_000  # passages are read in groups of this size, to limit memory


@dataclass(frozen=True)
class Answer:
    """A prediction and its line in the passage, counted from 1. `line` is None if there is no answer."""

    prediction: Prediction
    line: int | None
    source: str


@dataclass(frozen=True)
class Found:
    """One of the answers from several files. `line` (counted from 1), `start` and `end` are positions in the file.

    `score` is the model's logit. `probability` is relative to the candidates of all passages with an answer.
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
        raise UserError("a question needs exactly one passage", remedy="give it either with -c TEXT or with -f FILE")
    if file is not None:
        text = read_text(file)
    assert text is not None
    if not text.strip():
        raise UserError(f"the passage{f' in {file}' if file else ''} is empty", remedy="give a passage with text")
    return text


def ask(model: str, question: str, context: str, source: str) -> Answer:
    """Answer a question from a passage of any length, with a run or a checkpoint.

    A squad_v2 model abstains if its null score exceeds the threshold that was tuned in evaluation.
    """
    _check(question)
    predictions_for = Questioner(_reader(model), question)
    with Course("reading", len(context), "characters") as course:
        (prediction,) = predictions_for([context], course)
    return Answer(prediction, line_of(prediction, context), source)


def ask_all(model: str, question: str, places: Sequence[Path], wanted: int) -> list[Found]:
    """The best `wanted` answers from all text files in `places`, most likely first, without overlapping spans.

    A squad_v2 model abstains passage by passage; those passages contribute no candidates. Raises UserError.
    """
    _check(question)
    files = text_files(places)
    total = characters_of(files)
    predictions_for = Questioner(_reader(model), question)
    say(f"reading {len(files):,} files, {count(total)} characters")
    best: list[Found] = []
    log_total = -np.inf  # the logsumexp of all candidates' scores
    with Course("reading", total, "characters") as course:
        for passages in _groups(passages_of(files)):
            predictions = predictions_for([passage.text for passage in passages], course)
            for passage, prediction in zip(passages, predictions, strict=True):
                if prediction.text:
                    scores = [candidate.score for candidate in prediction.candidates]
                    log_total = np.logaddexp(log_total, np.logaddexp.reduce(scores))
                    candidates = _without_overlaps(prediction.candidates)[:wanted]
                    best += [_found(passage, candidate) for candidate in candidates]
            best = sorted(best, key=lambda found: -found.score)[:wanted]  # stable: ties keep the order of the files
    return [replace(found, probability=float(np.exp(found.score - log_total))) for found in best]


def _check(question: str) -> None:
    if not question.strip():
        raise UserError("the question is empty", remedy="give a question: -q QUESTION")


def _reader(model: str) -> PatientReader:
    """Load a model that answers questions. Raises UserError if it was trained for another kind of task."""
    purpose = purpose_of(model)
    task = purpose.task if purpose else task_named("squad")
    if not task.answers_questions:
        raise UserError(
            f"{model} was fine-tuned for {task.name}, which does not answer questions",
            remedy=f"use it on a file of rows: llmkit predict {model} FILE -o OUTPUT",
        )
    settings = settings_of(model, None if purpose else task.name, "the passage")
    return PatientReader(open_reader(settings))


class Questioner:
    """Asks one question of any number of passages."""

    def __init__(self, reader: PatientReader, question: str) -> None:
        self._reader, self._question = reader, question

    def __call__(self, contexts: Sequence[str], course: Course) -> Sequence[Prediction]:
        """One prediction per passage. Raises OutOfMemory if a single input does not fit in memory."""
        size = len(contexts)
        examples = Columns({"id": ["question"] * size, "question": [self._question] * size, "context": contexts})
        return self._reader(examples, course.part(sum(map(len, contexts))))


def _groups(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    group: list[Passage] = []
    for passage in passages:
        group.append(passage)
        if sum(len(passage.text) for passage in group) >= GROUP_CHARACTERS:
            yield group
            group = []
    if group:
        yield group


def _without_overlaps(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that do not overlap a better one: overlapping spans are variants of the same answer."""
    kept: list[Candidate] = []
    for candidate in candidates:
        if not any(_span(candidate)[0] < _span(k)[1] and _span(k)[0] < _span(candidate)[1] for k in kept):
            kept.append(candidate)
    return kept


def _span(candidate: Candidate) -> tuple[int, int]:
    assert candidate.start is not None
    assert candidate.end is not None
    return candidate.start, candidate.end


def _found(passage: Passage, candidate: Candidate) -> Found:
    start, end = _span(candidate)
    before, after = _context_of(passage.text, start, end)
    return Found(
        text=candidate.text,
        file=str(passage.file),
        line=passage.line + passage.text.count("\n", 0, start) + 1,
        start=passage.start + start,
        end=passage.start + end,
        score=candidate.score,
        probability=0.0,  # set once all candidates are known
        before=before,
        after=after,
    )


def _context_of(text: str, start: int, end: int) -> tuple[str, str]:
    """The text before and after a span, without line breaks."""
    before, after = text[max(0, start - CONTEXT_SHOWN) : start], text[end : end + CONTEXT_SHOWN]
    return " ".join(before.split()), " ".join(after.split())


def show(answer: Answer, context: str) -> None:
    """Print the answer in its context, and the other candidates."""
    prediction = answer.prediction
    if prediction.start is None or prediction.end is None:
        result(f"no answer in the passage  ({prediction.score:.0%} sure)")
    else:
        result(f"{prediction.text}  ({prediction.score:.0%})")
        before, after = _context_of(context, prediction.start, prediction.end)
        result(f"  {answer.source}, line {answer.line}, characters {prediction.start} to {prediction.end}:")
        result(f"  … {before} [{prediction.text}] {after} …")
    others = [c for c in prediction.candidates if c.start != prediction.start or c.end != prediction.end]
    if others:
        rows = [
            [f"{c.probability:.0%}", " ".join(c.text.split()), f"{c.start} to {c.end}"] for c in others[:ALTERNATIVES]
        ]
        table([">probability", "other candidates", "characters"], rows)


def show_all(answers: Sequence[Found]) -> None:
    """Print the answers with their places, in context."""
    if not answers:
        result("no answer in these files")
    for found in answers:
        text = " ".join(found.text.split())
        result(f"{text}  ({found.probability:.0%})")
        result(f"  {found.file}, line {found.line}, characters {found.start} to {found.end}:")
        result(f"  … {found.before} [{text}] {found.after} …")
