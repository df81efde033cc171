"""Natural Questions (Kwiatkowski et al. 2019): short answers in whole Wikipedia articles.

A row comes from the Hub, the original release, or its simplified form. Each has the tokens of a page, and annotated
spans of tokens:

    {"example_id": 3902, "question_text": "what is a string", "document_url": "http://wikipedia.org/en/strings",
     "document_text": "<P> A string is a list of characters in order . </P>",
     "annotations": [{"short_answers": [{"start_token": 5, "end_token": 8}], "yes_no_answer": "NONE", …}], …}

The passage consists of the tokens that are not HTML, joined by spaces. Rows may also have SQuAD's form; each answer
then counts as one annotator's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from llmkit.tasks.examples import checked_text, text_of
from llmkit.tasks.span.natural_questions_scores import annotators_needed, natural_questions_scores, short_f1
from llmkit.tasks.span.sections import SpanData
from llmkit.tasks.span.task import ExtractiveQA
from llmkit.tasks.values import BadRow, LocatedRow, Prediction

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from llmkit.tasks.measures import Measured

Span = tuple[int, int]  # characters [start, end) of a passage

_TAG = re.compile(r"</?[A-Za-z][^>]*>")
_YES_NO = {0: "NO", 1: "YES", -1: "NONE"}  # as the Hub numbers them
_KNOWN = ("document_text", "document_tokens", "document", "question_text", "question", "annotations")


@dataclass(frozen=True)
class NaturalQuestions(ExtractiveQA):
    """Questions to a search engine. `annotations` are each annotator's answer: spans, or yes or no.

    In evaluation a question has an answer if at least two of five annotators gave one. A prediction is correct if it is
    one annotator's complete answer.
    """

    null_answers: bool = True
    margins: bool = True
    metric: str = "short_f1"
    headline: tuple[str, ...] = ("short_f1", "f1")

    def expand(self, place: str, row: Any) -> Iterator[LocatedRow]:
        """See Task: the original release calls the id `example_id`; SQuAD's own files contain articles."""
        if isinstance(row, dict) and "example_id" in row:
            yield place, {"id": row["example_id"], **row}
        else:
            yield from super().expand(place, row)

    def example(self, row: Mapping[str, Any], data: SpanData, *, labelled: bool) -> dict[str, Any]:
        """See Task."""
        if "document" not in row and "document_tokens" not in row and "document_text" not in row:
            found = super().example(row, data, labelled=labelled)
            answers = found["answers"]
            spans = [
                (start, start + len(text)) for text, start in zip(answers["text"], answers["answer_start"], strict=True)
            ]
            return found | {"annotations": [_annotation([span]) for span in spans] or [_annotation([])]}
        page = _Page(row)
        annotations = [page.annotation(found) for found in rows_in(row.get("annotations") or [], "annotations")]
        if labelled and not annotations:
            raise BadRow("no 'annotations', which say what the answer is")
        given = sum(bool(found["start"]) or found["yes_no"] != "NONE" for found in annotations)
        # Train on the smallest span that covers all of an annotator's spans, as in Alberti et al. 2019.
        whole = [(min(found["start"]), max(found["end"])) for found in annotations if found["start"]]
        whole = whole if given >= annotators_needed(len(annotations)) else []
        answers = {
            "text": [page.text[start:end] for start, end in whole],
            "answer_start": [start for start, _ in whole],
        }
        return {
            "title": page.title,
            "context": page.text,
            "question": page.question,
            "answers": answers,
            "annotations": annotations,
        }

    def schema(self) -> Features:
        """See Task."""
        from datasets import Features, List, Value

        kind = {"start": List(Value("int32")), "end": List(Value("int32")), "yes_no": Value("string")}
        return Features({**super().schema(), "annotations": List(kind)})

    @property
    def scorer(self) -> Callable[..., dict[str, Any]]:
        """See ExtractiveQA: the official F1 of short answers, and SQuAD 2.0's scores."""
        return natural_questions_scores

    def measures(self, predictions: Sequence[Prediction], examples: Dataset, data: SpanData) -> dict[str, Measured]:
        """See Task: the official F1 of short answers too."""
        return {"short_f1": short_f1(predictions, examples), **super().measures(predictions, examples, data)}


class _Page:
    """A page of any of the three forms: its text, and the mapping from tokens to characters."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        document, question = row.get("document"), row.get("question")
        title = document.get("title") if isinstance(document, Mapping) else row.get("document_title")
        self.title = checked_text(title, "title") if isinstance(title, str) else ""
        name = "text" if isinstance(question, Mapping) else "question_text"
        self.question = text_of(question if isinstance(question, Mapping) else row, name, _KNOWN)
        words = list(_words(row))
        # Each word is followed by a space.
        ends = list(accumulate(0 if html else len(word) + 1 for word, html in words))
        self._words = [
            (end - len(word) - 1, end - 1) if not html else None for end, (word, html) in zip(ends, words, strict=True)
        ]
        self.text = checked_text(" ".join(word for word, html in words if not html), "document")
        if not self.text.strip():
            raise BadRow("the document has no words")

    def annotation(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """One annotator's answer, with spans in characters."""
        yes_no = found.get("yes_no_answer", "NONE")
        yes_no = _YES_NO.get(yes_no) if isinstance(yes_no, int) else yes_no
        if not isinstance(yes_no, str) or yes_no not in _YES_NO.values():
            raise BadRow(f"'yes_no_answer' is {found['yes_no_answer']!r}: neither YES, NO nor NONE")
        answers = rows_in(found.get("short_answers") or [], "short_answers")
        return _annotation(
            [self._span(answer.get("start_token"), answer.get("end_token")) for answer in answers], yes_no
        )

    def _span(self, start: Any, end: Any) -> Span:
        if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(self._words):
            raise BadRow(f"a short answer of tokens {start!r} to {end!r}, but the document has {len(self._words):,}")
        words = [word for word in self._words[start:end] if word is not None]
        if not words:
            raise BadRow(f"a short answer of tokens {start} to {end}, none of which is a word")
        return words[0][0], words[-1][1]


def _words(row: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """(token, is HTML) for each token of a page."""
    document = row.get("document")
    if not isinstance(document, Mapping) and "document_tokens" not in row:
        # Only spaces separate tokens here; a token may contain other white space.
        for token in text_of(row, "document_text", _KNOWN).split(" "):
            yield token, _TAG.fullmatch(token) is not None
        return
    tokens = document.get("tokens") if isinstance(document, Mapping) else row["document_tokens"]
    for found in rows_in(tokens, "tokens"):
        if not isinstance(found.get("token"), str):
            raise BadRow("a token of the document is not text")
        yield found["token"], bool(found.get("is_html", found.get("html_token")))


def rows_in(value: Any, name: str) -> list[Mapping[str, Any]]:
    """The objects of a list, which the Hub's parquet files store as an object of lists. Raises BadRow."""
    if isinstance(value, Mapping):
        columns = list(value.values())
        if not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
            raise BadRow(f"{name!r} is an object, but not of lists of the same length")
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        raise BadRow(f"{name!r} is not a list of objects")
    return value


def _annotation(spans: Sequence[Span], yes_no: str = "NONE") -> dict[str, Any]:
    return {"start": [start for start, _ in spans], "end": [end for _, end in spans], "yes_no": yes_no}
