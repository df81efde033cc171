"""Rows of similarity: pairs with a score, pairs that belong together, triplets, or the parts of a collection.

In canonical columns, all of which every example has:

    {"id": "3", "text": "…", "pair": "…", "negative": None, "label": "4.2", "role": "pair", "relevant": []}

`label` is the score as text, None if there is none. `role` is `pair` for rows of data sets. A collection has a `query`,
whose `relevant` are the ids of documents, and a `document`, both with a `text` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.tasks.examples import checked_text, first_in, is_missing, missing_column
from llmkit.tasks.similarity.sections import SimilarityData
from llmkit.tasks.values import BadRow, MissingColumn

TEXT = ("anchor", "sentence1", "query", "question", "text")
PAIR = ("positive", "sentence2", "passage", "answer", "pair")
NEGATIVE = ("negative",)
SCORE = ("score", "label")
COLUMNS = ("id", "text", "pair", "negative", "label", "role")
ROLE = "role"  # the key of a row of a collection


def example_of(row: Mapping[str, Any], data: SimilarityData, *, labelled: bool) -> dict[str, Any]:
    """A row in canonical columns, without the id. Raises BadRow."""
    if ROLE in row and row[ROLE] in ("query", "document"):
        return {**dict.fromkeys(COLUMNS[1:]), "text": row["text"], "role": row[ROLE], "relevant": row["relevant"]}
    found: dict[str, Any] = {"role": "pair" if labelled else "asked", "relevant": []}
    found["text"] = _text(row, data.text_column or first_in(row, TEXT), "text_column")
    found["pair"] = _text(row, data.pair_column or first_in(row, PAIR), "pair_column")
    negative = data.negative_column or next((name for name in NEGATIVE if name in row), None)
    found["negative"] = _text(row, negative, "negative_column") if negative is not None and labelled else None
    score = data.score_column or next((name for name in SCORE if name in row), None)
    found["label"] = _number(row, score) if score is not None and labelled else None
    return found


def _text(row: Mapping[str, Any], name: str, option: str) -> str:
    if is_missing(row.get(name)):
        raise MissingColumn(missing_column(row, name, option, list(row)))
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"{name!r} is empty or not text; choose another column with data.{option}")
    return checked_text(value, name)


def _number(row: Mapping[str, Any], name: str) -> str:
    from llmkit.tasks.label.regression import number_text

    if name not in row:
        raise MissingColumn(missing_column(row, name, "score_column", list(row)))
    return number_text(row[name], name)


def form_of(examples: Any) -> str:
    """What examples are: `scored` pairs, `pairs`, `triplets`, a `collection`; `mixed` if they are not all the same."""
    forms = {
        _form(role, negative, label)
        for role, negative, label in zip(
            examples["role"][:], examples["negative"][:], examples["label"][:], strict=True
        )
    }
    return forms.pop() if len(forms) == 1 else "mixed"


def _form(role: str, negative: str | None, label: str | None) -> str:
    if role in ("query", "document"):
        return "collection"
    if label is not None:
        return "scored"
    return "pairs" if negative is None else "triplets"


def texts_of(examples: Any) -> list[str]:
    """All texts of examples, each once, in order of appearance."""
    columns: Sequence[Sequence[str | None]] = [examples[name][:] for name in ("text", "pair", "negative")]
    return list(dict.fromkeys(text for row in zip(*columns, strict=True) for text in row if text is not None))
