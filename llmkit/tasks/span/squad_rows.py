"""Convert rows of extractive question answering to canonical columns, and check them.

A row is flat, {"id", "context", "question", "answers"}, with an optional "title". Its answers are
{"text": […], "answer_start": […]} or a list of {"text", "answer_start"}. Or a row is an article of SQuAD's nested JSON,
or one of an article's paragraphs.

A question without an answer has no answers, or `is_impossible`, or only empty texts, whatever their positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmkit.tasks.examples import checked_text, is_missing, text_of
from llmkit.tasks.values import BadRow, LocatedRow

COLUMNS = ("id", "title", "context", "question", "answers")
_NO_ANSWERS: dict[str, list[Any]] = {"text": [], "answer_start": []}


def expanded(place: str, row: Any) -> Iterator[LocatedRow]:
    """The questions of an article or of a paragraph, each with its place; any other row as it is. Raises BadRow.

    An article is {"title", "paragraphs": […]}, a paragraph {"context", "qas": [{"id", "question", "answers"}, …]}.
    """
    if isinstance(row, dict) and "qas" in row:
        yield from _questions_of(place, row)
    elif isinstance(row, dict) and ("paragraphs" in row or ("title" in row and "context" not in row)):
        article = {name: value for name, value in row.items() if name != "paragraphs"}
        for number, paragraph in enumerate(_list(row, "paragraphs", place)):
            yield from _questions_of(f"{place}.paragraphs[{number}]", paragraph, article)
    else:
        yield place, row


def _questions_of(place: str, paragraph: Any, article: Mapping[str, Any] | None = None) -> Iterator[LocatedRow]:
    for number, question in enumerate(_list(paragraph, "qas", place)):
        here = f"{place}.qas[{number}]"
        if not isinstance(question, dict):
            raise BadRow(f"{here}: expected an object")
        yield here, {**(article or {}), **{k: v for k, v in paragraph.items() if k != "qas"}, **question}


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
    return {
        "title": title,
        "context": context,
        "question": question,
        "answers": _gold(row, context, null_answers=null_answers) if labelled else _NO_ANSWERS,
    }


def _gold(row: Mapping[str, Any], context: str, *, null_answers: bool) -> dict[str, list[Any]]:
    """The answers of a row, checked. None of them are empty."""
    if row.get("is_impossible") is True:
        answers = _NO_ANSWERS
    else:
        if is_missing(row.get("answers")):
            text_of(row, "answers", COLUMNS)  # raises BadRow, with a similar name if there is one
        answers = answers_of(row["answers"])
    texts, starts = answers["text"], answers["answer_start"]
    if len(texts) != len(starts):
        raise BadRow(f"'answers' has {len(texts)} texts and {len(starts)} starts")
    if all(isinstance(text, str) and not text.strip() for text in texts):
        if not null_answers:
            raise BadRow("no answer; for questions without an answer use --task squad_v2")
        return _NO_ANSWERS
    for text, start in zip(texts, starts, strict=True):
        if not isinstance(text, str) or not isinstance(start, int) or isinstance(start, bool):
            raise BadRow("an answer needs a text and a whole number of characters as its start")
        if not text.strip():
            raise BadRow("an answer is empty, beside one that is not")
        if start < 0 or not context.startswith(text, start):
            raise BadRow(f"answer {text!r} is not at character {start} of its context{_where(text, start, context)}")
    return answers


def nearest(text: str, start: int, context: str) -> int | None:
    """The start of the occurrence of `text` in the context that is nearest to `start`; None if there is none."""
    starts = [match.start() for match in re.finditer(re.escape(text), context)]
    return min(starts, key=lambda found: abs(found - start), default=None)


def _where(text: str, start: int, context: str) -> str:
    found = nearest(text, start, context)
    return f", but at character {found}" if found is not None else ", nor anywhere in it"


def answers_of(answers: Any) -> dict[str, list[Any]]:
    """The texts and starts of a row's answers, in either form, unchecked. Raises BadRow if it is neither."""
    try:
        if isinstance(answers, Mapping):
            return {"text": list(answers["text"]), "answer_start": list(answers["answer_start"])}
        return {"text": [a["text"] for a in answers], "answer_start": [a["answer_start"] for a in answers]}
    except (TypeError, KeyError, AttributeError):
        raise BadRow(
            "'answers' is neither {'text': […], 'answer_start': […]} nor a list of {'text', 'answer_start'}"
        ) from None
