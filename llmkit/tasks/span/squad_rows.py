"""Convert rows of extractive question answering to canonical columns, and check them.

A row is flat, {"id", "context", "question", "answers"}, with an optional "title". Its answers are
{"text": […], "answer_start": […]} or a list of {"text", "answer_start"}. Or a row is an article of SQuAD's nested JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmkit.tasks.examples import checked_text, text_of
from llmkit.tasks.values import BadRow, LocatedRow

COLUMNS = ("id", "title", "context", "question", "answers")
_NO_ANSWERS: dict[str, list[Any]] = {"text": [], "answer_start": []}


def questions_of(place: str, article: Any) -> Iterator[LocatedRow]:
    """The questions of an article: {"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}."""
    for p, paragraph in enumerate(_list(article, "paragraphs", place)):
        inside = f"{place}.paragraphs[{p}]"
        for q, question in enumerate(_list(paragraph, "qas", inside)):
            here = f"{inside}.qas[{q}]"
            if not isinstance(question, dict):
                raise BadRow(f"{here}: expected an object")
            inherited = {k: v for k, v in (article | paragraph).items() if k not in ("paragraphs", "qas")}
            impossible: dict[str, Any] = {"answers": []} if question.get("is_impossible") else {}
            yield here, inherited | question | impossible


def _list(value: Any, name: str, place: str) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise BadRow(f"{place}: expected an object with a list named {name!r}, as in SQuAD's nested JSON")
    return found


def question_of(row: Mapping[str, Any], *, null_answers: bool, labelled: bool) -> dict[str, Any]:
    """Convert a row to canonical columns. Raises BadRow if it is invalid."""
    context, question = text_of(row, "context", COLUMNS), text_of(row, "question", COLUMNS)
    title = row.get("title") or ""
    if not isinstance(title, str):
        raise BadRow("'title' is not text")
    checked_text(title, "title")
    if row.get("answers") is None and not labelled:
        return {"title": title, "context": context, "question": question, "answers": _NO_ANSWERS}
    if row.get("answers") is None:
        text_of(row, "answers", COLUMNS)  # raises BadRow, with a similar name if there is one
    answers = _answers(row["answers"])
    if labelled:
        _check(answers, context, null_answers=null_answers)
    return {"title": title, "context": context, "question": question, "answers": answers}


def _check(answers: Mapping[str, list[Any]], context: str, *, null_answers: bool) -> None:
    if len(answers["text"]) != len(answers["answer_start"]):
        raise BadRow(f"'answers' has {len(answers['text'])} texts and {len(answers['answer_start'])} starts")
    if not answers["text"] and not null_answers:
        raise BadRow("no answer; for questions without an answer use the task squad_v2")
    for text, start in zip(answers["text"], answers["answer_start"], strict=True):
        if not isinstance(text, str) or not isinstance(start, int) or isinstance(start, bool):
            raise BadRow("an answer needs a text and a whole number of characters as its start")
        if not text.strip():
            raise BadRow("an answer is empty")
        found = context[start : start + len(text)] if start >= 0 else ""
        if found != text:
            raise BadRow(f"answer {text!r} is not at character {start} of its context, which reads {found!r} there")


def _answers(answers: Any) -> dict[str, list[Any]]:
    try:
        if isinstance(answers, Mapping):
            return {"text": list(answers["text"]), "answer_start": list(answers["answer_start"])}
        return {"text": [a["text"] for a in answers], "answer_start": [a["answer_start"] for a in answers]}
    except (TypeError, KeyError, AttributeError):
        raise BadRow(
            "'answers' is neither {'text': […], 'answer_start': […]} nor a list of {'text', 'answer_start'}"
        ) from None
